//! The crawler's turmoil host: moves what the crawler under test wants moved, over one UDP socket
//! for both families and one stream for each connection.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use turmoil::net::{TcpStream, UdpSocket};

use super::frame::{emit_datagram, hello, parse_datagram, take_frame};
use super::{DATAGRAM_MAX, READ_MAX, Stage, bind_udp, gateway_of, now, wait_until};
use crate::net::event::{Conn, Observer};
use crate::net::internet::Delivery;
use crate::subject::Action;

/// Starts the crawler under test and runs it until the host is crashed or the simulation ends.
pub(super) async fn play<O: Observer>(stage: Rc<Stage<O>>) -> turmoil::Result {
    let udp = bind_udp().await?;
    let (events, mut heard) = mpsc::unbounded_channel();
    let mut lines = Lines { events, open: BTreeMap::new(), tasks: JoinSet::new() };
    let mut datagram = vec![0; DATAGRAM_MAX];
    stage.subject.borrow_mut().start(now());
    loop {
        carry_out(&stage, &udp, &mut lines)?;
        let due: Option<Instant> = stage.subject.borrow().poll_timeout();
        tokio::select! {
            biased;
            () = stage.shut_down.notified() => stage.subject.borrow_mut().shut_down(now()),
            received = udp.recv_from(&mut datagram) => {
                let (len, _) = received?;
                let delivery = parse_datagram(&datagram[..len]).ok_or("a datagram without header")?;
                stage.subject.borrow_mut().deliver(now(), &delivery);
            }
            Some(delivery) = heard.recv() => {
                stage.subject.borrow_mut().deliver(now(), &delivery);
            }
            Some(ended) = lines.tasks.join_next() => ended??,
            () = wait_until(due) => stage.subject.borrow_mut().handle_timeout(now()),
        }
    }
}

/// The streams to the gateways.
struct Lines {
    events: UnboundedSender<Delivery>,
    /// Where what is written to each is queued; dropping it closes the stream.
    open: BTreeMap<Conn, UnboundedSender<Vec<u8>>>,
    tasks: JoinSet<io::Result<()>>,
}

fn carry_out<O: Observer>(stage: &Stage<O>, udp: &UdpSocket, lines: &mut Lines) -> turmoil::Result {
    let mut frame = Vec::new();
    let mut subject = stage.subject.borrow_mut();
    while let Some(action) = subject.poll(now()) {
        match action {
            Action::Send { from, to, payload } => {
                frame.clear();
                emit_datagram(&mut frame, from, to, false, &payload);
                udp.try_send_to(&frame, gateway_of(to))?;
            }
            Action::Dial { conn, to } => {
                let (queue, written) = mpsc::unbounded_channel();
                lines.open.insert(conn, queue);
                lines.tasks.spawn_local(line(conn, to, written, lines.events.clone()));
            }
            Action::Write { conn, bytes } => {
                if let Some(queue) = lines.open.get(&conn) {
                    // A line that is gone has said so, and the news is on its way.
                    let _ = queue.send(bytes);
                }
            }
            Action::Close { conn } => {
                lines.open.remove(&conn);
            }
        }
    }
    Ok(())
}

/// One connection: to the gateway that answers for `to`, until either side has enough.
async fn line(
    conn: Conn,
    to: SocketAddr,
    mut written: UnboundedReceiver<Vec<u8>>,
    events: UnboundedSender<Delivery>,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(gateway_of(to)).await?;
    stream.write_all(&hello(conn, to)).await?;
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = vec![0; READ_MAX];
    let mut pending = Vec::new();
    loop {
        tokio::select! {
            biased;
            read = reader.read(&mut buffer) => {
                let len = read?;
                pending.extend_from_slice(&buffer[..len]);
                while let Some(delivery) = take_frame(conn, &mut pending) {
                    // Nobody listens any more only when the host is about to end.
                    let _ = events.send(delivery);
                }
                if len == 0 {
                    return Ok(());
                }
            }
            bytes = written.recv() => match bytes {
                Some(bytes) => writer.write_all(&bytes).await?,
                None => return Ok(()),
            },
        }
    }
}
