//! Hostile and odd nodes: the honest answer, bent as the node's [`NodeVice`] says.
//!
//! What a vice does not touch stays honest, so that crawlers meet liars they have reason to trust.
//! Dice are the node's own and advance with its answers: equal queries in equal order get equal
//! lies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use estudely_core::internal::addr::{emit_node, emit_peer};
use estudely_core::krpc::{Kind, Message, Method};
use estudely_core::{Contact, Duration, Family, Id, Instant, NodeId};

use super::Sent;
use super::raw::{Raw, int, list, string, write_dict};
use crate::world::addresses::Addresses;
use crate::world::dht::World;
use crate::world::vice::NodeVice;

/// Contacts that a liar names.
const NAMED: u64 = 8;
/// Samples that an excessive node sends: more than is taken (H19), and below 2 048 bytes with all.
const SAMPLES: usize = 72;
/// Peers that a flooding node names: as many as 2 048 bytes hold.
const FLOOD: [usize; 2] = [220, 85];
/// Contacts that one names: as many as 2 048 bytes hold.
const CROWD: [usize; 2] = [70, 48];
/// Bytes of padding in an answer that is too long to be read, short of UDP's limit.
const HUGE: usize = 64_000;
/// Datagrams of a flood, for each query.
const BURST: u64 = 20;
/// Levels of a nested list: beyond any limit, below 2 048 bytes.
const DEPTH: usize = 500;
/// Tiny tokens in one datagram.
const TOKENS: usize = 540;

/// What a liar has at hand.
pub(super) struct AnswerContext<'a> {
    pub(super) world: &'a World,
    pub(super) now: Instant,
    pub(super) number: u32,
    /// Its own address.
    pub(super) own: SocketAddr,
    pub(super) from: SocketAddr,
    /// How many answers it gave before.
    pub(super) turn: u64,
    pub(super) dice: fastrand::Rng,
}

impl AnswerContext<'_> {
    fn say(&self, payload: Vec<u8>, sends: &mut Vec<Sent>) {
        sends.push(Sent { after: Duration::ZERO, from: self.own, to: self.from, payload });
    }

    /// An address without a resident: a new one for each `index` of each answer.
    fn nobody(&mut self) -> SocketAddr {
        self.world.nobody(self.dice.u64(..), 0)
    }

    fn id(&mut self) -> NodeId {
        let mut id = [0; 20];
        self.dice.fill(&mut id);
        NodeId(id)
    }

    /// An id that shares a prefix of two bytes with `target`, to be asked at once.
    fn id_near(&mut self, target: Option<Id>) -> NodeId {
        let mut id = self.id();
        if let Some(target) = target {
            id.0[..2].copy_from_slice(&target.0[..2]);
        }
        id
    }

    /// The key of contacts in this family.
    fn nodes_key(&self) -> &'static [u8] {
        match self.world.family() {
            Family::V4 => b"nodes",
            Family::V6 => b"nodes6",
        }
    }
}

/// Bends `honest`, an answer to `query`, and appends what is sent instead.
pub(super) fn bend(
    vice: NodeVice,
    context: &mut AnswerContext<'_>,
    query: &[u8],
    honest: Vec<u8>,
    sends: &mut Vec<Sent>,
) {
    let Some(mut raw) = Raw::read(&honest) else { return };
    let asked = Asked::of(query);
    match vice {
        NodeVice::OtherAddress | NodeVice::OtherPort => elsewhere(vice, context, honest, sends),
        NodeVice::Slow => {
            let after = Duration::from_secs(context.dice.u64(7..40));
            sends.push(Sent { after, from: context.own, to: context.from, payload: honest });
        }
        NodeVice::FallsSilent => {
            let patience = context.world.dice("patience", u64::from(context.number)).u64(2..8);
            if context.turn < patience {
                context.say(honest, sends);
            }
        }
        NodeVice::ReplyFlood => flood_replies(context, raw, honest, sends),
        NodeVice::QueryFlood => {
            context.say(honest, sends);
            for _ in 0..BURST {
                let payload =
                    super::curious::query(context.world, context.number, &mut context.dice);
                context.say(payload, sends);
            }
        }
        NodeVice::AsksBack => context.say(ask_back(context, raw), sends),
        NodeVice::DeepBencode
        | NodeVice::TruncatedBencode
        | NodeVice::TokenFlood
        | NodeVice::AbsurdLengths
        | NodeVice::HugeDatagrams
        | NodeVice::Untidy => {
            let payload = garble(vice, context, &raw, &honest);
            context.say(payload, sends);
        }
        _ => {
            bend_root(vice, context, &mut raw);
            bend_reply(vice, context, &asked, &mut raw);
            bend_lists(vice, context, &asked, &mut raw);
            context.say(raw.write(), sends);
        }
    }
}

/// Who asked, and for what point.
pub(super) struct Asked {
    id: NodeId,
    pub(super) target: Option<Id>,
    wants_peers: bool,
}

impl Asked {
    pub(super) fn of(query: &[u8]) -> Self {
        let mut asked = Self { id: NodeId([0; 20]), target: None, wants_peers: false };
        if let Ok(Message { kind: Kind::Query(query), .. }) = Message::parse(query) {
            asked.id = query.id;
            asked.target = match query.method {
                Method::FindNode { target } | Method::SampleInfohashes { target } => Some(target),
                Method::GetPeers { info_hash, .. } => Some(info_hash.id()),
                _ => None,
            };
            asked.wants_peers = matches!(query.method, Method::GetPeers { .. });
        }
        asked
    }
}

fn elsewhere(
    vice: NodeVice,
    context: &mut AnswerContext<'_>,
    payload: Vec<u8>,
    sends: &mut Vec<Sent>,
) {
    let mut from = context.own;
    if vice == NodeVice::OtherAddress {
        from = context.world.nobody(u64::from(context.number), 1);
    } else {
        // Another one, and never a port below 1 024.
        from.set_port(if from.port() < 40_000 { from.port() + 1 } else { from.port() - 1 });
    }
    sends.push(Sent { after: Duration::ZERO, from, to: context.from, payload });
}

fn flood_replies(
    context: &mut AnswerContext<'_>,
    mut raw: Raw,
    honest: Vec<u8>,
    sends: &mut Vec<Sent>,
) {
    for turn in 0..BURST {
        if turn == BURST / 2 {
            context.say(honest.clone(), sends);
            context.say(honest.clone(), sends);
        }
        let mut transaction = [0; 6];
        context.dice.fill(&mut transaction);
        raw.set(b"t", string(&transaction));
        context.say(raw.write(), sends);
    }
}

/// A ping in place of an answer, and under its transaction.
fn ask_back(context: &AnswerContext<'_>, mut raw: Raw) -> Vec<u8> {
    let id = string(&context.world.contact(context.number).id.0);
    raw.reply = None;
    raw.root.retain(|(key, _)| key != b"e");
    raw.set(b"a", write_dict(&[(b"id".to_vec(), id)]));
    raw.set(b"q", string(b"ping"));
    raw.set(b"y", string(b"q"));
    raw.write()
}

/// Lies outside of `r`.
fn bend_root(vice: NodeVice, context: &mut AnswerContext<'_>, raw: &mut Raw) {
    match vice {
        NodeVice::WrongTransaction => {
            let mut transaction = [0; 6];
            context.dice.fill(&mut transaction);
            let len = [6, 6, 2, 1, 0][context.turn as usize % 5];
            raw.set(b"t", string(&transaction[..len]));
            if context.turn % 10 == 9 {
                raw.unset(b"t");
            }
        }
        NodeVice::Refuser => {
            let code = 201 + (context.turn % 4) as i64;
            make_error(
                raw,
                Some([b"l".to_vec(), int(code), string(b"no"), b"e".to_vec()].concat()),
            );
        }
        NodeVice::OddErrors => {
            let shapes: [Option<&[u8]>; 5] =
                [Some(b"6:sorry!"), Some(b"li202ee"), None, Some(b"l3:2023:whye"), Some(b"i202e")];
            make_error(raw, shapes[context.turn as usize % shapes.len()].map(<[u8]>::to_vec));
        }
        NodeVice::OddKind => match context.turn % 3 {
            0 => raw.root.retain(|(key, _)| key != b"y"),
            1 => raw.set(b"y", string(b"x")),
            _ => raw.set(b"y", int(1)),
        },
        NodeVice::Legacy => {
            raw.set(b"ip", string(&[9, 9, 9, 9, 9][..4 + context.turn as usize % 2]));
            raw.set(b"zz", b"d1:xli1ei2eee".to_vec());
            raw.set_reply(b"bs", int(1));
            raw.set_reply(b"n", string(b"a name"));
            raw.set_reply(b"nodes2", list([&[7; 38][..]].into_iter()));
            raw.set_reply(b"p", int(i64::from(context.from.port())));
        }
        _ => {}
    }
}

/// Turns an answer into an error.
fn make_error(raw: &mut Raw, error: Option<Vec<u8>>) {
    raw.reply = None;
    raw.root.retain(|(key, _)| key != b"e");
    raw.set(b"y", string(b"e"));
    if let Some(error) = error {
        raw.set(b"e", error);
    }
}

/// Lies about single values of `r`.
fn bend_reply(vice: NodeVice, context: &mut AnswerContext<'_>, asked: &Asked, raw: &mut Raw) {
    let turn = context.turn as usize;
    match vice {
        NodeVice::ChangingId => raw.set_reply(b"id", string(&context.id().0)),
        NodeVice::Reflector => raw.set_reply(b"id", string(&asked.id.0)),
        NodeVice::OddId => match turn % 3 {
            0 => raw.remove(b"id"),
            1 => raw.set_reply(b"id", string(&[5; 19])),
            _ => raw.set_reply(b"id", string(&[5; 21])),
        },
        NodeVice::BadInterval => match turn % 4 {
            0 => raw.replace(b"interval", int(-1)),
            1 => raw.replace(b"interval", int(i64::MAX)),
            2 => raw.replace(b"interval", string(b"21600")),
            _ => raw.remove(b"interval"),
        },
        NodeVice::ZeroInterval => raw.replace(b"interval", int(0)),
        NodeVice::AbsurdNum => raw.replace(b"num", int([-1, i64::MAX][turn % 2])),
        NodeVice::WrongTypes => {
            for key in [&b"nodes"[..], b"nodes6", b"samples", b"token", b"values"] {
                raw.replace(key, int(7));
            }
            for key in [&b"interval"[..], b"num"] {
                raw.replace(key, string(b"7"));
            }
            if turn % 2 == 1 {
                raw.set_reply(b"id", int(7));
            }
            if turn % 4 == 2 {
                raw.remove(b"nodes");
                raw.remove(b"nodes6");
            }
        }
        _ => {}
    }
}

/// Lies about the lists of `r`.
fn bend_lists(vice: NodeVice, context: &mut AnswerContext<'_>, asked: &Asked, raw: &mut Raw) {
    let key = context.nodes_key();
    match vice {
        NodeVice::InventedNodes
        | NodeVice::SelfNodes
        | NodeVice::MartianNodes
        | NodeVice::SybilNodes => {
            let contacts = lies(vice, context, asked);
            let mut compact = Vec::new();
            contacts.into_iter().for_each(|contact| emit_node(contact, &mut compact));
            raw.replace(key, string(&compact));
        }
        NodeVice::FloodedNodes if raw.get(key).is_some() => {
            let id = raw.get(b"id").map(<[u8]>::to_vec);
            let mut compact = Vec::new();
            for _ in 0..CROWD[context.world.family().index()] {
                let contact = Contact { id: context.id(), addr: context.nobody() };
                emit_node(contact, &mut compact);
            }
            raw.reply = Some(Vec::new());
            id.into_iter().for_each(|id| raw.set_reply(b"id", id));
            raw.set_reply(key, string(&compact));
        }
        NodeVice::RaggedNodes => lengthen(raw, key, context.dice.usize(1..26)),
        NodeVice::RaggedSamples => lengthen(raw, b"samples", context.dice.usize(1..20)),
        NodeVice::PoisonedSamples | NodeVice::ManySamples => {
            let Some(mut samples) = raw.string(b"samples") else { return };
            let len = if vice == NodeVice::ManySamples { SAMPLES } else { 20 };
            if vice == NodeVice::PoisonedSamples {
                samples.clear();
            }
            while samples.len() < 20 * len {
                samples.extend_from_slice(&context.id().0);
            }
            raw.set_reply(b"samples", string(&samples));
            raw.replace(b"num", int(100_000));
        }
        NodeVice::FloodedValues | NodeVice::OddValues | NodeVice::NodesAsValues
            if asked.wants_peers =>
        {
            bend_values(vice, context, raw);
        }
        _ => {}
    }
}

/// Appends bytes to a string of the answer.
fn lengthen(raw: &mut Raw, key: &[u8], by: usize) {
    if let Some(mut value) = raw.string(key) {
        value.resize(value.len() + by, 0x2a);
        raw.set_reply(key, string(&value));
    }
}

fn lies(vice: NodeVice, context: &mut AnswerContext<'_>, asked: &Asked) -> Vec<Contact> {
    let shared = context.world.nobody(u64::from(context.number), 2);
    let own = context.world.contact(context.number);
    let martians = martians(context.world.plan().addresses);
    (0..NAMED)
        .map(|at| match vice {
            NodeVice::SelfNodes if at % 2 == 0 => own,
            NodeVice::SelfNodes => Contact { id: asked.id, addr: context.from },
            _ => {
                let id = context.id_near(asked.target);
                let addr = match vice {
                    NodeVice::MartianNodes => martians[at as usize % martians.len()],
                    NodeVice::SybilNodes => SocketAddr::new(shared.ip(), context.dice.u16(1_024..)),
                    _ => context.nobody(),
                };
                Contact { id, addr }
            }
        })
        .collect()
}

/// Addresses that no host of the public network can own (H11); in a world on loopback, none that
/// a host of a private one could own either.
fn martians(addresses: Addresses) -> Vec<SocketAddr> {
    let v4 = |a, b, c, d| SocketAddr::from((Ipv4Addr::new(a, b, c, d), 6_881));
    let v6 = |text: [u16; 8]| SocketAddr::from((Ipv6Addr::from(text), 6_881));
    let without_port = |ip: IpAddr| SocketAddr::new(ip, 0);
    let nowhere = [
        v4(0, 1, 2, 3),
        v4(224, 0, 0, 251),
        v4(255, 255, 255, 255),
        without_port(Ipv4Addr::new(5, 5, 5, 5).into()),
    ];
    let own = match addresses {
        Addresses::Loopback(_) => [
            v4(0, 0, 0, 0),
            v4(239, 255, 255, 250),
            v4(240, 1, 2, 3),
            without_port(Ipv4Addr::LOCALHOST.into()),
        ],
        Addresses::Public(Family::V4) => {
            [v4(127, 0, 0, 1), v4(10, 1, 2, 3), v4(192, 168, 1, 1), v4(169, 254, 9, 9)]
        }
        Addresses::Public(Family::V6) => {
            return vec![
                v6([0, 0, 0, 0, 0, 0, 0, 1]),
                v6([0xfe80, 0, 0, 0, 0, 0, 0, 7]),
                v6([0xfc00, 1, 0, 0, 0, 0, 0, 7]),
                v6([0xff02, 0, 0, 0, 0, 0, 0, 1]),
                v6([0, 0, 0, 0, 0, 0xffff, 0x0505, 0x0505]),
                v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
                v6([0x4000, 0, 0, 0, 0, 0, 0, 1]),
                SocketAddr::from((Ipv6Addr::new(0x2a02, 5, 5, 5, 5, 5, 5, 5), 0)),
            ];
        }
    };
    own.into_iter().chain(nowhere).collect()
}

fn bend_values(vice: NodeVice, context: &mut AnswerContext<'_>, raw: &mut Raw) {
    let compact = |addr| {
        let mut bytes = Vec::new();
        emit_peer(addr, &mut bytes);
        bytes
    };
    let values: Vec<Vec<u8>> = match vice {
        NodeVice::NodesAsValues => {
            let target = context.id().id();
            let known = context.world.closest(context.now, context.number, target);
            known.iter().map(|node| compact(context.world.contact(node).addr)).collect()
        }
        NodeVice::FloodedValues => {
            raw.remove(context.nodes_key());
            let count = FLOOD[context.world.family().index()];
            (0..count).map(|_| compact(context.nobody())).collect()
        }
        _ => (0..4).map(|_| compact(context.nobody())).collect(),
    };
    let joined = values.concat();
    let value = match (vice, context.turn % 3) {
        (NodeVice::OddValues, 0) => list([&joined[..]].into_iter()),
        (NodeVice::OddValues, 1) => string(&joined),
        (NodeVice::OddValues, _) => list([&joined[..1], &joined[..5], &joined[..7]].into_iter()),
        _ => list(values.iter().map(|value| &value[..])),
    };
    raw.set_reply(b"values", value);
}

/// Lies in the bencode itself.
fn garble(vice: NodeVice, context: &mut AnswerContext<'_>, raw: &Raw, honest: &[u8]) -> Vec<u8> {
    let mut raw = raw.clone();
    match vice {
        NodeVice::TruncatedBencode => honest[..context.dice.usize(1..honest.len())].to_vec(),
        NodeVice::DeepBencode => {
            // Some never end: a reader must not look for the end of what it refuses.
            let ends = if context.turn.is_multiple_of(2) { DEPTH } else { 0 };
            raw.set(b"a", [vec![b'l'; DEPTH], vec![b'e'; ends]].concat());
            raw.write()
        }
        NodeVice::HugeDatagrams => {
            raw.set_reply(b"x", string(&vec![b'x'; HUGE]));
            raw.write()
        }
        NodeVice::TokenFlood => {
            raw.set(b"a", [&b"l"[..], &b"0:".repeat(TOKENS), b"e"].concat());
            raw.write()
        }
        NodeVice::AbsurdLengths => {
            let shapes: [&[u8]; 4] = [
                b"999999999999999999:",
                b"99999999999999999999:x",
                b"i999999999999999999999999999999e",
                b"i-9223372036854775809e",
            ];
            raw.set(b"a", shapes[context.turn as usize % shapes.len()].to_vec());
            raw.write()
        }
        _ => untidy(raw),
    }
}

/// The same message with keys reversed and repeated, a leading zero, and bytes after its end.
fn untidy(mut raw: Raw) -> Vec<u8> {
    if let Some(mut reply) = raw.reply.take() {
        reply.extend(reply.first().cloned());
        reply.reverse();
        raw.set(b"r", write_dict(&reply));
    }
    let mut out = vec![b'd'];
    for (key, value) in raw.root.iter().rev() {
        if key == b"y" {
            out.push(b'0');
        }
        out.extend(string(key));
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"e\0\0\0");
    out
}

#[cfg(test)]
mod tests;
