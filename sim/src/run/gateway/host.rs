//! A gateway: the turmoil host behind which a share of the virtual internet lives.
//!
//! Connecting to it always succeeds; whether the virtual destination accepts, refuses or stays
//! silent is said in frames, when the virtual internet says so.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

use super::frame::{emit_datagram, frame, parse_datagram, take_hello};
use super::{CRAWLER, DATAGRAM_MAX, PORT, READ_MAX, bind_udp, now, wait_until};
use crate::net::event::Conn;
use crate::net::internet::{Delivery, Net};

/// What a stream brings.
enum StreamEvent {
    /// The crawler wants a connection.
    Dialled { conn: Conn, to: SocketAddr, writer: OwnedWriteHalf },
    /// It wrote to it.
    Bytes(Conn, Vec<u8>),
    /// It closed it.
    Closed(Conn),
}

/// Serves `net` until the simulation ends.
pub(super) async fn serve(net: Rc<RefCell<Net>>) -> turmoil::Result {
    let udp = bind_udp().await?;
    let listener = TcpListener::bind((super::ANY, PORT)).await?;
    let (events, mut heard) = mpsc::unbounded_channel();
    let mut writers = BTreeMap::new();
    let mut tasks: JoinSet<io::Result<()>> = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        deliver(&net, &udp, &mut writers)?;
        let due = net.borrow().poll_timeout();
        tokio::select! {
            biased;
            received = udp.recv_from(&mut datagram) => {
                let (len, _) = received?;
                let sent = parse_datagram(&datagram[..len]).ok_or("a datagram without header")?;
                if let Delivery::Datagram { from, to, payload, .. } = sent {
                    net.borrow_mut().send(now(), from, to, &payload);
                }
            }
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                tasks.spawn_local(listen(stream, events.clone()));
            }
            Some(heard) = heard.recv() => match heard {
                StreamEvent::Dialled { conn, to, writer } => {
                    let (queue, queued) = mpsc::unbounded_channel();
                    writers.insert(conn, queue);
                    tasks.spawn_local(write(writer, queued));
                    net.borrow_mut().dial(now(), conn, to);
                }
                StreamEvent::Bytes(conn, bytes) => net.borrow_mut().write(now(), conn, &bytes),
                StreamEvent::Closed(conn) => {
                    // Unless it was closed from here.
                    if writers.remove(&conn).is_some() {
                        net.borrow_mut().close(now(), conn);
                    }
                }
            },
            Some(ended) = tasks.join_next() => ended??,
            () = wait_until(due) => {}
        }
    }
}

/// Sends what the virtual internet has for the crawler. Never waits: one stream must not hold up
/// the others, let alone the datagrams.
fn deliver(
    net: &RefCell<Net>,
    udp: &UdpSocket,
    writers: &mut BTreeMap<Conn, UnboundedSender<Vec<u8>>>,
) -> turmoil::Result {
    let mut out = Vec::new();
    loop {
        let Some(delivery) = net.borrow_mut().poll(now()) else { return Ok(()) };
        if let Delivery::Datagram { from, to, payload, forged } = &delivery {
            out.clear();
            emit_datagram(&mut out, *from, *to, *forged, payload);
            udp.try_send_to(&out, SocketAddr::new(CRAWLER.into(), PORT))?;
            continue;
        }
        let Some((conn, frame)) = frame(&delivery) else { continue };
        let over =
            matches!(delivery, Delivery::Refused(_) | Delivery::Closed(_) | Delivery::Reset(_));
        if let Some(writer) = writers.get(&conn)
            && (writer.send(frame).is_err() || over)
        {
            writers.remove(&conn);
        }
    }
}

/// Writes to one stream what is queued for it, until that is all or the crawler is gone: then it
/// has nothing to read, and its end of the stream says so as well. Where [`super::CAPACITY`]
/// segments are still unread when the crawler leaves, turmoil never wakes who waits for room.
async fn write(
    mut writer: OwnedWriteHalf,
    mut queued: UnboundedReceiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(frame) = queued.recv().await {
        if writer.write_all(&frame).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads one stream to its end.
async fn listen(stream: TcpStream, events: UnboundedSender<StreamEvent>) -> io::Result<()> {
    let (mut reader, writer) = stream.into_split();
    let mut pending = Vec::new();
    let (conn, to) = loop {
        if read(&mut reader, &mut pending).await == 0 {
            return Ok(());
        }
        if let Some(hello) = take_hello(&mut pending) {
            break hello;
        }
    };
    // Nobody listens any more only when the simulation is about to end.
    let _ = events.send(StreamEvent::Dialled { conn, to, writer });
    loop {
        if !pending.is_empty() {
            let _ = events.send(StreamEvent::Bytes(conn, std::mem::take(&mut pending)));
        }
        if read(&mut reader, &mut pending).await == 0 {
            let _ = events.send(StreamEvent::Closed(conn));
            return Ok(());
        }
    }
}

/// Appends what arrives next; 0 at the end, whatever ended it.
async fn read(reader: &mut OwnedReadHalf, pending: &mut Vec<u8>) -> usize {
    let mut buffer = [0; READ_MAX];
    let len = reader.read(&mut buffer).await.unwrap_or(0);
    pending.extend_from_slice(&buffer[..len]);
    len
}
