//! Looks up the peers of one torrent, beginning at one node:
//!
//! ```text
//! cargo run -p estudely-io-smol --example lookup -- INFOHASH 127.0.0.1:6881
//! ```
//!
//! INFOHASH is also a magnet link. Contacts that node and the nodes it leads to, one walk of BEP 5,
//! and prints the peers found as `IP:PORT`, one a line. A private address lets private ones in.
//! Exit status: 0 peers found, 1 none, 2 usage.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use estudely_core::internal::walk::Walk;
use estudely_core::krpc::{Ask, Kind, Message};
use estudely_core::magnet;
use estudely_core::{AddressPolicy, Family, Id, InfoHash};

use common::{Asker, Failure, PATIENCE, address, arguments, finish, usage, vain};

/// A node that has not answered by then no longer holds up the walk (protocol reference 4.4).
const STALL: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let result = arguments("lookup INFOHASH|MAGNET IP:PORT").and_then(|[hash, node]| {
        let magnet = magnet::parse(&hash).map_err(|error| usage(error.to_string()))?;
        smol::block_on(Lookup::new(magnet.hash, address(&node)?)?.run())
    });
    finish("lookup", result)
}

struct Lookup {
    hash: InfoHash,
    family: Family,
    policy: AddressPolicy,
    asker: Asker,
    walk: Walk,
    open: BTreeMap<SocketAddr, Query>,
    peers: BTreeSet<SocketAddr>,
    answers: u32,
}

struct Query {
    transaction: [u8; 6],
    asked: Instant,
}

impl Lookup {
    fn new(hash: InfoHash, node: SocketAddr) -> Result<Self, Failure> {
        let public = AddressPolicy::Public.admits(node);
        let policy = if public { AddressPolicy::Public } else { AddressPolicy::AllowPrivate };
        let (asker, family) = (Asker::new(node)?, Family::of(node));
        let mut walk = Walk::new(Id(hash.0), asker.own, policy, family);
        walk.add_address(node);
        let (open, peers) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { hash, family, policy, asker, walk, open, peers, answers: 0 })
    }

    async fn run(mut self) -> Result<String, Failure> {
        while !self.walk.is_done() {
            while let Some(node) = self.walk.poll_query() {
                let transaction =
                    self.asker.ask(node.addr, &Ask::GetPeers { info_hash: self.hash });
                self.open.insert(node.addr, Query { transaction, asked: Instant::now() });
            }
            self.expire();
            let mut arrived = Vec::new();
            let wait = Duration::from_millis(50);
            self.asker.listen(wait, |from, bytes| arrived.push((from, bytes.to_vec()))).await;
            for (from, datagram) in arrived {
                self.receive(from, &datagram);
            }
        }
        self.report()
    }

    fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Ok(message) = Message::parse(datagram) else { return };
        // Only the node that was asked may answer, and only what it was asked.
        let asked = self.open.get(&from).is_some_and(|q| q.transaction == message.transaction);
        if !asked {
            return;
        }
        match message.kind {
            Kind::Reply(reply) => {
                let policy = self.policy;
                self.peers.extend(reply.values.clone().filter(|peer| policy.admits(*peer)));
                let found = match self.family {
                    Family::V4 => reply.nodes,
                    Family::V6 => reply.nodes6,
                };
                self.walk.on_reply(from, reply.id, found);
                self.answers += 1;
            }
            Kind::Error(_) => self.walk.on_failure(from),
            Kind::Query(_) => return,
        }
        self.open.remove(&from);
    }

    fn expire(&mut self) {
        let walk = &mut self.walk;
        self.open.retain(|addr, query| {
            let age = query.asked.elapsed();
            if age >= PATIENCE {
                walk.on_failure(*addr);
            } else if age >= STALL {
                walk.on_stall(*addr);
            }
            age < PATIENCE
        });
    }

    fn report(self) -> Result<String, Failure> {
        if self.peers.is_empty() {
            return Err(vain(format!("no peers; {} nodes answered", self.answers)));
        }
        Ok(self.peers.iter().fold(String::new(), |mut text, peer| {
            let _ = writeln!(text, "{peer}");
            text
        }))
    }
}
