//! A DHT node, sans-IO: one datagram in, answers out (BEP 5, 32, 33, 43, 51).
//!
//! [`Node::handle_datagram`] answers honestly from the world's truth, with at most one datagram:
//! contacts from its own routing table, the peers it stores, the sample of the running interval.
//! [`Node::handle`] also plays what the world made of this node: its vice, its silence, and the
//! query that it sends now and then to a node that asked it. A node keeps no clock and holds
//! nothing for a stranger beyond a bounded list of announced peers.

mod baiter;
mod curious;
mod eclipse;
mod moved;
mod raw;
mod vices;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use estudely_core::krpc::{
    Envelope, Kind, Message, Method, Query, ReplyBody, code, emit_error, emit_reply,
};
use estudely_core::{Contact, Duration, Family, Id, InfoHash, Instant, NodeId};
use sha1::{Digest, Sha1};

use crate::world::dht::{NodeKind, SAMPLES_MAX, World};
use crate::world::routing::{Closest, K, VALUES_MAX, VALUES_MAX_V6};
use vices::AnswerContext;

pub use moved::Moved;

/// Announced peers that a node remembers; the oldest goes first.
pub const ANNOUNCED_MAX: usize = 256;
/// Bytes of a token, as libtorrent's (5.7).
const TOKEN_LEN: usize = 4;
/// How long a token's secret lasts, seconds; the one before is accepted too (5.7).
const TOKEN_SECRET_SECS: u64 = 300;
/// What `v` says: no client has these letters.
const VERSION: [u8; 4] = *b"SW\x00\x01";

/// A datagram that an actor sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// How long after what it answers.
    pub after: Duration,
    /// Where it seems to come from.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// What it says.
    pub payload: Vec<u8>,
}

/// One node of a world. All its state can be dropped and made anew: only announced peers are lost.
#[derive(Debug)]
pub struct Node {
    number: u32,
    /// The interval for which `samples` holds.
    epoch: Option<u64>,
    samples: Box<[InfoHash]>,
    /// What it was told of beyond the world's truth, and where a peer of that is.
    announced: VecDeque<(InfoHash, Option<SocketAddr>)>,
    /// Peers that are not where the world has them, if there are any.
    moved: Option<Arc<Moved>>,
    /// Answers given so far.
    turn: u64,
}

impl Node {
    /// Node `number` of the world that its methods are given.
    pub fn new(number: u32) -> Self {
        let (samples, announced) = (Box::default(), VecDeque::new());
        Self { number, epoch: None, samples, announced, moved: None, turn: 0 }
    }

    /// The same, and it hands out where these peers are instead of where the world has them.
    #[must_use]
    pub fn with_moved(self, moved: Arc<Moved>) -> Self {
        Self { moved: Some(moved), ..self }
    }

    /// Has this node store `key` beyond the world's truth, as if `peer` had been announced to it;
    /// without one it shows the key and knows no peer of it any more. Its sample shows it from the
    /// next interval on, as far as there is room (51.3).
    pub fn store(&mut self, key: InfoHash, peer: Option<SocketAddr>) {
        self.announced.retain(|known| *known != (key, peer));
        if self.announced.len() == ANNOUNCED_MAX {
            self.announced.pop_front();
        }
        self.announced.push_back((key, peer));
    }

    /// Takes one datagram from `from` as this node of the world does, vice and all, and appends
    /// what it sends.
    pub fn handle(
        &mut self,
        world: &World,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
        sends: &mut Vec<Sent>,
    ) {
        if world.is_hushed(now, self.number) {
            return;
        }
        let mut answer = Vec::new();
        self.handle_datagram(world, now, from, payload, &mut answer);
        if answer.is_empty() {
            return;
        }
        let own = world.contact(self.number).addr;
        let (number, turn) = (self.number, self.turn);
        self.turn += 1;
        let mut dice = world.dice("turn", u64::from(number) ^ (turn << 32));
        if world.colludes(number) {
            let payload = eclipse::answer(world, number, payload, answer);
            return sends.push(Sent { after: Duration::ZERO, from: own, to: from, payload });
        }
        if let Some(baiter) = world.baiter(number) {
            let payload = baiter::answer(world, baiter, &mut dice, payload, answer);
            return sends.push(Sent { after: Duration::ZERO, from: own, to: from, payload });
        }
        match world.node_vice(number) {
            Some(vice) => {
                let mut context = AnswerContext { world, now, number, own, from, turn, dice };
                vices::bend(vice, &mut context, payload, answer, sends);
            }
            None => {
                let mut say = |payload| {
                    sends.push(Sent { after: Duration::ZERO, from: own, to: from, payload });
                };
                say(answer);
                if dice.u32(0..1_000) < world.plan().hostility.curiosity {
                    say(curious::query(world, number, &mut dice));
                }
            }
        }
    }

    /// Takes one datagram from `from` and appends the honest answer to `out`, if one is due.
    pub fn handle_datagram(
        &mut self,
        world: &World,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        if world.node_kind(self.number) == NodeKind::Dead {
            return;
        }
        match Message::parse(payload) {
            Ok(Message { transaction, kind: Kind::Query(query), .. }) => {
                self.answer(world, now, from, transaction, &query, out);
            }
            Ok(_) => {}
            Err(error) => {
                if let Some((transaction, text)) = error.refusal() {
                    emit_error(out, &envelope(transaction, from), code::PROTOCOL, text);
                }
            }
        }
    }

    fn answer(
        &mut self,
        world: &World,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
        query: &Query<'_>,
        out: &mut Vec<u8>,
    ) {
        let call = Call { now, from, envelope: envelope(transaction, from) };
        let envelope = &call.envelope;
        let own = world.contact(self.number).id;
        let wanted = query.want.includes(world.family(), Family::of(from));
        let pick = |target: Id| match wanted {
            true => Nearest::pick(world, now, self.number, target),
            false => Nearest::default(),
        };
        match query.method {
            Method::Ping => emit_reply(out, envelope, &ReplyBody::new(own)),
            Method::FindNode { target } | Method::Unknown { target: Some(target), .. } => {
                pick(target).emit(own, envelope, out);
            }
            Method::GetPeers { info_hash, .. } => {
                let nearest = pick(info_hash.id());
                self.answer_get_peers(world, &call, info_hash, &nearest, out);
            }
            Method::AnnouncePeer { info_hash, port, implied_port, token, .. } => {
                let port = if implied_port { from.port() } else { port };
                if self.accepts(world, now, from, token) {
                    self.store(info_hash, Some(SocketAddr::new(from.ip(), port)));
                    emit_reply(out, envelope, &ReplyBody::new(own));
                } else {
                    emit_error(out, envelope, code::PROTOCOL, b"invalid token");
                }
            }
            Method::SampleInfohashes { target } => {
                self.answer_sample(world, now, &pick(target), envelope, out);
            }
            Method::Malformed { argument, .. } => {
                emit_error(out, envelope, code::PROTOCOL, argument.text());
            }
            Method::Unknown { target: None, .. } => {
                emit_error(out, envelope, code::METHOD_UNKNOWN, b"method unknown");
            }
        }
    }

    fn answer_get_peers(
        &self,
        world: &World,
        call: &Call<'_>,
        info_hash: InfoHash,
        nearest: &Nearest,
        out: &mut Vec<u8>,
    ) {
        let Call { now, from, ref envelope } = *call;
        let mut values = [SocketAddr::from(([0, 0, 0, 0], 0)); VALUES_MAX];
        let mut count = 0;
        for peer in self.peers(world, now, info_hash).filter(|&p| Family::of(p) == Family::of(from))
        {
            if Family::of(from) == Family::V6 && count == VALUES_MAX_V6 {
                break;
            }
            let Some(place) = values.get_mut(count) else { break };
            *place = peer;
            count += 1;
        }
        let token = self.token(world, secret_number(now), from);
        let reply = ReplyBody {
            nodes: nearest.contacts(),
            nodes6: nearest.contacts(),
            values: &values[..count],
            token: Some(&token),
            ..ReplyBody::new(world.contact(self.number).id)
        };
        emit_reply(out, envelope, &reply);
    }

    /// The stored peers of a torrent: those of the world, then announced ones.
    fn peers<'a>(
        &'a self,
        world: &'a World,
        now: Instant,
        info_hash: InfoHash,
    ) -> impl Iterator<Item = SocketAddr> + 'a {
        let stored = world
            .torrent_by_key(info_hash)
            .filter(|&torrent| world.stores(now, self.number, torrent));
        let peers = stored.into_iter().flat_map(move |torrent| world.known_peers_of(now, torrent));
        let announced = self.announced.iter().filter(move |(key, _)| *key == info_hash);
        let addr = |peer| match &self.moved {
            Some(moved) => moved.addr(world, peer),
            None => world.peer(peer).addr,
        };
        peers.map(addr).chain(announced.filter_map(|&(_, addr)| addr))
    }

    /// What it stores beyond the world's truth, each once, oldest first.
    fn announced_keys(&self) -> Vec<InfoHash> {
        let mut keys = Vec::new();
        for (key, _) in &self.announced {
            if !keys.contains(key) {
                keys.push(*key);
            }
        }
        keys
    }

    fn answer_sample(
        &mut self,
        world: &World,
        now: Instant,
        nearest: &Nearest,
        envelope: &Envelope<'_>,
        out: &mut Vec<u8>,
    ) {
        let own = world.contact(self.number).id;
        match world.node_kind(self.number) {
            NodeKind::Dead | NodeKind::SampleSilent => {}
            NodeKind::SampleUnknown => {
                emit_error(out, envelope, code::METHOD_UNKNOWN, b"method unknown");
            }
            NodeKind::SampleAsFindNode => nearest.emit(own, envelope, out),
            NodeKind::Sampler => {
                let epoch = world.sample_epoch(now);
                if self.epoch != Some(epoch) {
                    let shown = world.samples(self.number, epoch).into_iter();
                    let shown = shown.map(|torrent| world.key(torrent));
                    self.samples = shown.chain(self.announced_keys()).take(SAMPLES_MAX).collect();
                    self.epoch = Some(epoch);
                }
                let stored = world.stored(now, self.number).len() + self.announced_keys().len();
                let reply = ReplyBody {
                    nodes: nearest.contacts(),
                    nodes6: nearest.contacts(),
                    samples: Some(&self.samples),
                    interval: Some(i64::from(world.plan().interval)),
                    num: Some(stored as i64),
                    ..ReplyBody::new(own)
                };
                emit_reply(out, envelope, &reply);
            }
        }
    }

    fn accepts(&self, world: &World, now: Instant, from: SocketAddr, token: &[u8]) -> bool {
        let current = secret_number(now);
        [Some(current), current.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|secret| self.token(world, secret, from) == token)
    }

    /// BEP 5: a hash of the asker's address and a secret that changes every five minutes.
    fn token(&self, world: &World, secret: u64, from: SocketAddr) -> [u8; TOKEN_LEN] {
        let mut hash = Sha1::new()
            .chain_update(world.plan().seed.to_be_bytes())
            .chain_update(self.number.to_be_bytes())
            .chain_update(secret.to_be_bytes());
        match from {
            SocketAddr::V4(addr) => hash.update(addr.ip().octets()),
            SocketAddr::V6(addr) => hash.update(addr.ip().octets()),
        }
        let mut token = [0; TOKEN_LEN];
        token.copy_from_slice(&hash.finalize()[..TOKEN_LEN]);
        token
    }
}

/// When a query came, from where, and what its answer begins with.
struct Call<'a> {
    now: Instant,
    from: SocketAddr,
    envelope: Envelope<'a>,
}

/// Up to eight contacts, ready to be written.
struct Nearest {
    contacts: [Contact; K],
    len: usize,
}

impl Default for Nearest {
    fn default() -> Self {
        let nobody = Contact { id: NodeId([0; 20]), addr: SocketAddr::from(([0, 0, 0, 0], 0)) };
        Self { contacts: [nobody; K], len: 0 }
    }
}

impl Nearest {
    fn pick(world: &World, now: Instant, node: u32, target: Id) -> Self {
        let mut nearest = Self::default();
        let closest: Closest = world.closest(now, node, target);
        for (place, number) in nearest.contacts.iter_mut().zip(closest.iter()) {
            *place = world.contact(number);
            nearest.len += 1;
        }
        nearest
    }

    fn contacts(&self) -> &[Contact] {
        &self.contacts[..self.len]
    }

    /// The answer to find_node.
    fn emit(&self, own: NodeId, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
        let contacts = self.contacts();
        let reply = ReplyBody { nodes: contacts, nodes6: contacts, ..ReplyBody::new(own) };
        emit_reply(out, envelope, &reply);
    }
}

fn envelope(transaction: &[u8], from: SocketAddr) -> Envelope<'_> {
    Envelope { transaction, version: Some(VERSION), read_only: false, external: Some(from) }
}

fn secret_number(now: Instant) -> u64 {
    now.as_micros() / 1_000_000 / TOKEN_SECRET_SECS
}

#[cfg(test)]
mod tests;
