use std::collections::BTreeMap;

use estudely_core::bencode::Writer;
use estudely_core::krpc::{Envelope, Kind, Message, Method, Want, emit_method};
use estudely_core::{Duration, Id, NodeId};

use super::*;
use crate::actors::peer::HANDSHAKE_LEN;
use crate::world::dht::{NodeKind, World};

mod datagrams;
mod streams;

/// A net with everything that is needed to talk to it.
struct Rig {
    net: Net,
    universe: Rc<Universe>,
    own: SocketAddr,
}

fn calm() -> Scenario {
    Scenario { nodes: 200, torrents: 60, broken_s: 100_000, ..Scenario::calm(11) }
}

fn at(millis: u64) -> Instant {
    Instant::START + Duration::from_millis(millis)
}

impl Rig {
    fn new(scenario: &Scenario) -> Self {
        let universe = Rc::new(Universe::build(scenario).expect("universe"));
        Self::shard(scenario, universe, Shard::WHOLE)
    }

    fn shard(scenario: &Scenario, universe: Rc<Universe>, shard: Shard) -> Self {
        let own = universe.own(Family::V4).expect("an address");
        Self { net: Net::new(Rc::clone(&universe), scenario, shard), universe, own }
    }

    fn world(&self) -> &World {
        self.universe.world(Family::V4).expect("a world")
    }

    /// Live nodes with BEP 51.
    fn nodes(&self) -> Vec<SocketAddr> {
        let world = self.world();
        (0..world.node_count())
            .filter(|&node| world.node_kind(node) == NodeKind::Sampler)
            .map(|node| world.contact(node).addr)
            .collect()
    }

    fn query(&mut self, now: Instant, to: SocketAddr, transaction: u32) {
        self.net.send(now, self.own, to, &query(transaction));
    }

    /// Everything until `end`, each at its own time.
    fn drain(&mut self, end: Instant) -> Vec<(Instant, Delivery)> {
        let mut all = Vec::new();
        while let Some(now) = self.net.poll_timeout().filter(|&at| at <= end) {
            while let Some(delivery) = self.net.poll(now) {
                all.push((now, delivery));
            }
        }
        all
    }
}

/// A find_node query whose transaction id holds that number.
fn query(transaction: u32) -> Vec<u8> {
    let mut id = *b"..\0\0\0\0";
    id[2..].copy_from_slice(&transaction.to_be_bytes());
    let envelope = Envelope { transaction: &id, version: None, read_only: true, external: None };
    let mut out = Vec::new();
    let method = Method::FindNode { target: Id([7; 20]) };
    emit_method(&mut out, &envelope, NodeId([9; 20]), &method, Want::UNSPECIFIED);
    out
}

/// The number in a reply's transaction id.
fn transaction(payload: &[u8]) -> Option<u32> {
    let message = Message::parse(payload).ok()?;
    let id: &[u8; 6] = message.transaction.try_into().ok()?;
    (id.starts_with(b"..") && matches!(message.kind, Kind::Reply(_)))
        .then(|| u32::from_be_bytes(*id.last_chunk().expect("four bytes")))
}
