//! All nodes behind one UDP socket; what seems to come from another port leaves from a second one.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use estudely_core::Instant;
use mio::Waker;

use super::post::{Batch, Post};
use super::{AskedLog, Extras, Shared, Stored, Traffic, is_ours};
use crate::actors::node::{Node, Sent};
use crate::world::dht::{Hostility, Resident};

/// How a query says that it is `sample_infohashes` (51.1).
const SAMPLE_METHOD: &[u8] = b"1:q17:sample_infohashes";

pub(super) struct UdpServer {
    shared: Arc<Shared>,
    post: Post,
    nodes: Vec<Node>,
    /// Whether nodes have more to them than honest answers.
    is_plain: bool,
    sends: Vec<Sent>,
    out: Vec<u8>,
    asked: Option<AskedLog>,
}

impl UdpServer {
    pub(super) fn new(shared: Arc<Shared>, socket: UdpSocket, extras: Extras) -> io::Result<Self> {
        let mut post = Post::new(shared.clone(), socket, 0)?;
        let moved = shared.ways.moved();
        let numbers = 0..shared.world.node_count();
        let mut nodes: Vec<_> =
            numbers.map(|number| Node::new(number).with_moved(moved.clone())).collect();
        for Stored { node, key, peer } in extras.stored {
            nodes[node as usize].store(key, Some(peer));
        }
        let is_plain = shared.world.plan().hostility == Hostility::NONE;
        if !is_plain {
            post.open_elsewhere()?;
        }
        let (sends, out) = (Vec::new(), Vec::new());
        Ok(Self { shared, post, nodes, is_plain, sends, out, asked: extras.asked })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.post.waker()
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let mut batch = Batch::new();
        while !self.shared.is_stopped() {
            self.post.wait(None)?;
            while self.post.receive(&mut batch)? {
                let now = self.shared.now();
                for (from, to, datagram) in batch.iter() {
                    self.handle(now, from, to, datagram);
                }
                self.post.send_due();
            }
            self.post.send_due();
        }
        Ok(())
    }

    fn handle(&mut self, now: Instant, from: SocketAddr, to: Option<IpAddr>, datagram: &[u8]) {
        let shared = self.shared.clone();
        let node = to.filter(|&ip| is_ours(ip)).and_then(|ip| match shared.world.resident(ip)? {
            Resident::Node(node) => Some((ip, node)),
            Resident::Peer(_) | Resident::Decoy(_) => None,
        });
        let Some((own, number)) = node.filter(|_| is_ours(from.ip())) else {
            Traffic::add(&shared.traffic.strays, 1);
            return;
        };
        Traffic::add(&shared.traffic.datagrams_in, 1);
        if let Some(asked) = &mut self.asked
            && datagram.windows(SAMPLE_METHOD.len()).any(|bytes| bytes == SAMPLE_METHOD)
        {
            let line = format!("{} {own}\n", now.since(Instant::START).as_micros());
            if asked.write_all(line.as_bytes()).is_err() {
                // Its reader sees that it ends.
                self.asked = None;
            }
        }
        if self.post.loses() {
            return;
        }
        let node = &mut self.nodes[number as usize];
        if !self.is_plain {
            node.handle(&shared.world, now, from, datagram, &mut self.sends);
            for sent in self.sends.drain(..) {
                self.post.launch(now, sent.after, (sent.from, sent.to), &sent.payload);
            }
            return;
        }
        self.out.clear();
        node.handle_datagram(&shared.world, now, from, datagram, &mut self.out);
        if !self.out.is_empty() {
            let own = shared.world.contact(number).addr;
            self.post.launch(now, Duration::ZERO, (own, from), &self.out);
        }
    }
}
