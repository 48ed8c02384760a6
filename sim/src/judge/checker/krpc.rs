//! What a datagram says that the crawler received, read with the checker's own bencode: leniently,
//! as the protocol says (catalogue D1-D21).

use std::net::{IpAddr, SocketAddr};

use super::bencode::{Limits, Value};
use super::class::Class;
use super::utp::Packet;

/// What kind of datagram was received.
#[derive(Clone, Copy, Debug)]
pub(super) enum Received<'a> {
    /// Neither KRPC nor uTP.
    Malformed,
    /// A packet of a uTP connection.
    Utp,
    /// A query of another node, whole or not.
    Query(Question<'a>),
    /// A reply to this transaction.
    Reply(&'a [u8], Reply<'a>),
    /// A reply without an id: the call failed (D11).
    BadReply(&'a [u8]),
    /// An error.
    Error(&'a [u8]),
}

impl Received<'_> {
    /// What it was for.
    pub(super) const fn class(&self) -> Class {
        match self {
            Self::Malformed => Class::Unknown,
            Self::Utp => Class::Utp,
            Self::Query(_) => Class::Query,
            Self::Reply(..) | Self::BadReply(_) => Class::Reply,
            Self::Error(_) => Class::Error,
        }
    }
}

/// A query of another node, as far as an answer to it can be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) transaction: &'a [u8],
    /// Whether it has all that every query must have.
    pub(super) whole: bool,
    /// The token of an announce, empty if it has none.
    pub(super) announces: Option<&'a [u8]>,
}

/// The parts of a reply that matter here, each absent if of another type than due (D10).
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply<'a> {
    pub(super) id: [u8; 20],
    pub(super) nodes: &'a [u8],
    pub(super) nodes6: &'a [u8],
    pub(super) values: Option<Value<'a>>,
    pub(super) samples: Option<&'a [u8]>,
    pub(super) interval: Option<i64>,
}

/// Reads a datagram that was received (H5, D5-D11).
pub(super) fn received(datagram: &[u8]) -> Received<'_> {
    if !(20..=2048).contains(&datagram.len()) || datagram[0] != b'd' {
        return Packet::read(datagram).map_or(Received::Malformed, |_| Received::Utp);
    }
    let Some(root) = Value::read(datagram, Limits::KRPC) else { return Received::Malformed };
    let (mut transaction, mut kind, mut method) = (None, None, None);
    let (mut arguments, mut results) = (None, None);
    for (key, value) in root.entries() {
        let first = match key {
            b"t" => &mut transaction,
            b"y" => &mut kind,
            b"q" => &mut method,
            b"a" => &mut arguments,
            b"r" => &mut results,
            _ => continue,
        };
        first.get_or_insert(value);
    }
    let method = method.and_then(Value::bytes);
    let transaction = transaction.and_then(Value::bytes).unwrap_or_default();
    if transaction.is_empty() {
        return Received::Malformed;
    }
    match kind.and_then(Value::bytes) {
        Some(b"q") => {
            let id = arguments.and_then(|a| a.get(b"id")).and_then(Value::bytes).map(<[u8]>::len);
            let whole = transaction.len() <= 32 && method.is_some() && id == Some(20);
            let token = || arguments.and_then(|a| a.get(b"token")).and_then(Value::bytes);
            let announces = method == Some(b"announce_peer");
            let announces = announces.then(|| token().unwrap_or_default());
            Received::Query(Question { transaction, whole, announces })
        }
        Some(b"r") => match results.and_then(reply) {
            Some(reply) => Received::Reply(transaction, reply),
            None => Received::BadReply(transaction),
        },
        Some(b"e") => Received::Error(transaction),
        _ => Received::Malformed,
    }
}

fn reply(results: Value<'_>) -> Option<Reply<'_>> {
    let (mut id, mut nodes, mut nodes6) = (None, None, None);
    let (mut values, mut samples, mut interval) = (None, None, None);
    for (key, value) in results.entries() {
        let first = match key {
            b"id" => &mut id,
            b"nodes" => &mut nodes,
            b"nodes6" => &mut nodes6,
            b"values" => &mut values,
            b"samples" => &mut samples,
            b"interval" => &mut interval,
            _ => continue,
        };
        first.get_or_insert(value);
    }
    let bytes = |value: Option<_>| value.and_then(Value::bytes);
    Some(Reply {
        id: bytes(id)?.try_into().ok()?,
        nodes: bytes(nodes).unwrap_or_default(),
        nodes6: bytes(nodes6).unwrap_or_default(),
        values,
        samples: bytes(samples),
        interval: interval.and_then(Value::int),
    })
}

impl<'a> Reply<'a> {
    /// The contacts of both families: whole entries of 26 and 38 bytes (D1).
    pub(super) fn contacts(self) -> impl Iterator<Item = ([u8; 20], SocketAddr)> {
        let entries = self.nodes.chunks_exact(26).chain(self.nodes6.chunks_exact(38));
        entries.filter_map(|entry| {
            let (id, addr) = entry.split_at_checked(20)?;
            Some((id.try_into().ok()?, compact(addr)?))
        })
    }

    /// The peers, in every reading that the field allows (D2, D3, 32.1).
    pub(super) fn peers(self) -> impl Iterator<Item = SocketAddr> {
        let items = self.values.into_iter().flat_map(Value::items);
        items.filter_map(Value::bytes).flat_map(|item| {
            let several = if item.len() == 6 { &[][..] } else { item };
            let whole = several.len().is_multiple_of(6);
            let parts = several.chunks_exact(6).filter(move |_| whole);
            compact(item).into_iter().chain(parts.filter_map(compact))
        })
    }

    /// The infohashes: entry `i` is bytes `20 i .. 20 i + 20` (51.6).
    pub(super) fn infohashes(self) -> impl Iterator<Item = [u8; 20]> + use<'a> {
        let entries = self.samples.unwrap_or_default().chunks_exact(20);
        entries.filter_map(|entry| entry.try_into().ok())
    }
}

/// A compact address of 6 or 18 bytes (BEP 5, BEP 32).
pub(super) fn compact(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(port.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use estudely_core::krpc::{Kind, Message};
    use proptest::prelude::*;

    use super::*;

    const REPLY: &[u8] = b"d2:ip6:abcdef1:rd2:id20:aaaaaaaaaaaaaaaaaaaa8:intervali300e5:nodes26:\
        bbbbbbbbbbbbbbbbbbbb\x05\x06\x07\x08\x1a\xe13:numi1e7:samples40:ccccccccccccccccccccdddddddddddddddddddd\
        6:valuesl6:\x01\x02\x03\x04\x1a\xe1ee1:t6:xxxxxx1:y1:re";
    const QUERY: &[u8] =
        b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa6:target20:bbbbbbbbbbbbbbbbbbbbe1:q9:find_node\
        1:t2:aa1:y1:qe";
    const ERROR: &[u8] = b"d1:eli204e3:oope1:t6:xxxxxx1:y1:ee";

    #[test]
    fn a_reply_gives_its_parts() {
        let Received::Reply(t, reply) = received(REPLY) else { panic!("a reply") };
        assert_eq!((t, reply.interval), (&b"xxxxxx"[..], Some(300)));
        let contacts: Vec<_> = reply.contacts().collect();
        assert_eq!(contacts, [([b'b'; 20], "5.6.7.8:6881".parse().expect("address"))]);
        assert_eq!(reply.peers().collect::<Vec<_>>(), ["1.2.3.4:6881".parse().expect("address")]);
        assert_eq!(reply.infohashes().collect::<Vec<_>>(), [[b'c'; 20], [b'd'; 20]]);
    }

    proptest! {
        #[test]
        fn damaged_datagrams_are_classed_as_the_core_classes_them(
            which in 0..3_usize,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4),
        ) {
            let mut bytes = [REPLY, QUERY, ERROR][which].to_vec();
            for (index, byte, how) in edits {
                let at = index.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes[at] = b"dlei0123:"[usize::from(byte) % 9],
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let ours = match received(&bytes) {
                Received::Malformed | Received::Utp => (0, 0),
                Received::Query(question) => (u8::from(question.whole), 0),
                Received::Reply(t, reply) => (2, t.len() + reply.contacts().count()),
                Received::BadReply(t) => (3, t.len()),
                Received::Error(t) => (4, t.len()),
            };
            let theirs = match Message::parse(&bytes) {
                Err(error) => error.failed_call().map_or((0, 0), |t| (3, t.len())),
                Ok(message) => match message.kind {
                    Kind::Query(_) => (1, 0),
                    Kind::Reply(r) => (2, message.transaction.len() + r.nodes.len() + r.nodes6.len()),
                    Kind::Error(_) => (4, message.transaction.len()),
                },
            };
            prop_assert_eq!(ours, theirs);
        }
    }
}
