//! One actor that the simulator has no place for: a node that answers with recorded datagrams,
//! those of a fuzz corpus. It stands for no DHT; all other nodes of this suite are the simulator's.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use estudely_core::krpc::{Kind, Message};

/// How many of them answer one query.
const AT_ONCE: usize = 24;

/// Datagrams, and how many were sent by all that send them in turn.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) datagrams: Vec<Vec<u8>>,
    pub(crate) sent: AtomicUsize,
}

/// Answers each query on that address and any port with the next few, as they are and as answers to
/// what was asked, until the process ends.
pub(crate) fn serve(ip: Ipv4Addr, recorded: Arc<Recorded>) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).expect("a socket on loopback");
    let own = socket.local_addr().expect("its address");
    thread::spawn(move || {
        let mut buf = [0; 2_048];
        loop {
            // Our own datagrams to a crawler that ended come back as errors.
            let Ok((len, from)) = socket.recv_from(&mut buf) else { continue };
            let Ok(message) = Message::parse(&buf[..len]) else { continue };
            if let Kind::Query(_) = message.kind {
                replay(&socket, from, message.transaction, &recorded);
            }
        }
    });
    own
}

fn replay(socket: &UdpSocket, asker: SocketAddr, transaction: &[u8], recorded: &Recorded) {
    let all = &recorded.datagrams;
    for _ in 0..AT_ONCE {
        let next = recorded.sent.fetch_add(1, Ordering::Relaxed);
        let datagram = &all[next % all.len()];
        // The crawler may be gone.
        let _ = socket.send_to(datagram, asker);
        if let Some(answer) = as_answer(datagram, transaction) {
            let _ = socket.send_to(&answer, asker);
        }
    }
}

/// A recorded datagram with this transaction id. `None` if it has none, or names addresses beyond
/// loopback even after the usual ones were rewritten: nothing may leave this machine.
fn as_answer(datagram: &[u8], t: &[u8]) -> Option<Vec<u8>> {
    let theirs = Message::parse(datagram).ok()?.transaction;
    let at = theirs.as_ptr() as usize - datagram.as_ptr() as usize;
    let before = at.checked_sub(format!("{}:", theirs.len()).len())?;
    let length = format!("{}:", t.len());
    let mut answer =
        [&datagram[..before], length.as_bytes(), t, &datagram[at + theirs.len()..]].concat();
    for (key, first, stride) in [(&b"5:nodes"[..], 20, 26), (b"6:valuesl", 2, 8)] {
        let Some(start) = answer.windows(key.len()).position(|window| window == key) else {
            continue;
        };
        let mut place = start + key.len();
        if stride == 26 {
            place += answer[place..].iter().position(|byte| *byte == b':')? + 1;
        }
        while answer.get(place..place + stride).is_some() {
            answer[place + first] = 127;
            place += stride;
        }
    }
    let message = Message::parse(&answer).ok()?;
    if let Kind::Reply(reply) = message.kind {
        let mut named = reply.nodes.map(|node| node.addr).chain(reply.values);
        named.all(|addr| addr.ip().is_loopback()).then_some(answer.clone())
    } else {
        Some(answer.clone())
    }
}
