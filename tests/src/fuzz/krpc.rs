//! KRPC: what is read of a datagram is written back and read again as the same, and compact forms
//! are exact.

mod naive;

use std::net::SocketAddr;

use estudely_core::internal::addr::{emit_node, emit_peer, parse_node, parse_peer};
use estudely_core::krpc::{
    BLOOM_LEN, Envelope, Kind, Message, Method, ParseError, ReplyBody, emit_error, emit_method,
    emit_reply,
};
use estudely_core::limits::{DATAGRAM_LEN_MAX, DATAGRAM_LEN_MIN, TRANSACTION_LEN_MAX};
use estudely_core::{AddressPolicy, Contact, Family, InfoHash};

use super::addresses::{is_routable, may_be_owned};
use super::bencode::is_for_others;

/// A datagram to a message and back: a second pass changes nothing.
pub(super) fn krpc(data: &[u8]) {
    let message = match Message::parse(data) {
        Ok(message) => message,
        Err(error) => return explain(data, error),
    };
    assert!((DATAGRAM_LEN_MIN..=DATAGRAM_LEN_MAX).contains(&data.len()));
    bounded(data, &message);
    confirm(data, &message);
    let written = write(&message);
    if !(DATAGRAM_LEN_MIN..=DATAGRAM_LEN_MAX).contains(&written.len()) {
        return; // defaults and repairs may change the length beyond what is read
    }
    let again = Message::parse(&written).expect("what was written is read");
    assert_eq!(write(&again), written, "writing is stable");
    assert_eq!(again.transaction, message.transaction);
    assert_eq!((again.read_only, again.external), (message.read_only, message.external));
    if message.version.is_some_and(|version| version.len() == 4) {
        assert_eq!(again.version, message.version);
    }
    assert!(again.flags.is_clean() || !message.flags.is_clean(), "writing adds no oddity");
    same_meaning(&message, &again);
}

/// What a message holds came in the datagram: no count exceeds what the bytes have room for.
fn bounded(data: &[u8], message: &Message<'_>) {
    assert!(message.transaction.len() <= data.len());
    let Kind::Reply(reply) = &message.kind else { return };
    let families = [(Family::V4, &reply.nodes), (Family::V6, &reply.nodes6)];
    let nodes = families.map(|(family, nodes)| nodes.clone().count() * family.node_len());
    let samples = reply.samples.clone().map_or(0, Iterator::count) * 20;
    let values = reply.values.clone().count() * Family::V4.peer_len();
    assert!(nodes.iter().sum::<usize>() + samples + values <= data.len());
}

/// An independent decoder finds the same in every field, where nothing was tolerated.
fn confirm(data: &[u8], message: &Message<'_>) {
    if message.flags.is_clean() && is_for_others(data) {
        let root = bt_bencode::from_slice(data).expect("a clean message is bencode");
        naive::confirm(&root, message);
    }
}

/// An error names a cause that the input has.
fn explain(data: &[u8], error: ParseError<'_>) {
    match error {
        ParseError::TooShort => assert!(data.len() < DATAGRAM_LEN_MIN),
        ParseError::TooLong => assert!(data.len() > DATAGRAM_LEN_MAX),
        ParseError::NotDictionary => assert_ne!(data.first(), Some(&b'd')),
        ParseError::NotBencode(error) => assert!(error.at <= data.len()),
        ParseError::BadReplyId { transaction } => {
            assert_eq!(error.failed_call(), Some(transaction));
        }
        ParseError::NoMethod { transaction } | ParseError::BadQueryId { transaction } => {
            assert!(transaction.len() <= TRANSACTION_LEN_MAX && error.refusal().is_some());
        }
        ParseError::NoTransaction | ParseError::LongTransaction | ParseError::NoKind => {}
    }
}

fn write(message: &Message<'_>) -> Vec<u8> {
    let version = message.version.and_then(|version| version.try_into().ok());
    let envelope = Envelope {
        transaction: message.transaction,
        version,
        read_only: message.read_only,
        external: message.external,
    };
    let mut out = Vec::new();
    match &message.kind {
        Kind::Query(query) => {
            emit_method(&mut out, &envelope, query.id, &query.method, query.want);
        }
        Kind::Error(error) => {
            emit_error(&mut out, &envelope, error.code.unwrap_or_default(), error.text);
        }
        Kind::Reply(reply) => {
            let nodes: Vec<Contact> = reply.nodes.clone().collect();
            let nodes6: Vec<Contact> = reply.nodes6.clone().collect();
            let values: Vec<SocketAddr> = reply.values.clone().collect();
            let samples: Option<Vec<InfoHash>> = reply.samples.clone().map(Iterator::collect);
            let filter = |bytes: Option<&'_ [u8]>| -> Option<[u8; BLOOM_LEN]> {
                bytes.and_then(|bytes| bytes.try_into().ok())
            };
            let (bfsd, bfpe) = (filter(reply.bfsd), filter(reply.bfpe));
            let body = ReplyBody {
                id: reply.id,
                nodes: &nodes,
                nodes6: &nodes6,
                values: &values,
                token: reply.token,
                samples: samples.as_deref(),
                interval: reply.interval,
                num: reply.num,
                bfsd: bfsd.as_ref(),
                bfpe: bfpe.as_ref(),
            };
            emit_reply(&mut out, &envelope, &body);
        }
    }
    out
}

fn same_meaning(a: &Message<'_>, b: &Message<'_>) {
    match (&a.kind, &b.kind) {
        (Kind::Query(a), Kind::Query(b)) => {
            assert_eq!((a.id, a.want), (b.id, b.want));
            // What is missing or malformed is not written: the receiver then misses it.
            if !matches!(a.method, Method::Malformed { .. }) {
                assert_eq!(a.method, b.method);
            }
        }
        (Kind::Reply(a), Kind::Reply(b)) => {
            assert_eq!(a.id, b.id);
            assert!(a.nodes.clone().eq(b.nodes.clone()) && a.nodes6.clone().eq(b.nodes6.clone()));
            let v4 = |values: estudely_core::krpc::Values<'_>| values.collect::<Vec<_>>();
            assert_eq!(v4(a.values.clone()), v4(b.values.clone()));
            assert_eq!((a.token, a.interval, a.num), (b.token, b.interval, b.num));
            let samples = |reply: &estudely_core::krpc::Reply<'_>| {
                reply.samples.clone().map(Iterator::collect::<Vec<_>>)
            };
            assert_eq!(samples(a), samples(b));
            assert_eq!((a.bfsd, a.bfpe), (b.bfsd, b.bfpe));
        }
        (Kind::Error(a), Kind::Error(b)) => {
            assert_eq!((a.code.unwrap_or_default(), a.text), (b.code.unwrap_or_default(), b.text));
        }
        (a, b) => panic!("{a:?} became {b:?}"),
    }
}

/// Compact peers and nodes: exact lengths, exact bytes, and a policy that is stricter in public.
pub(super) fn compact(data: &[u8]) {
    let peer = parse_peer(data);
    assert_eq!(peer.is_some(), [6, 18].contains(&data.len()));
    let node = parse_node(data);
    assert_eq!(node.is_some(), [26, 38].contains(&data.len()));
    for (addr, id) in
        peer.map(|addr| (addr, None)).into_iter().chain(node.map(|node| (node.addr, Some(node.id))))
    {
        let mut written = Vec::new();
        match id {
            None => emit_peer(addr, &mut written),
            Some(id) => emit_node(Contact { id, addr }, &mut written),
        }
        assert_eq!(written, data);
        let family = Family::of(addr);
        let len = if id.is_some() { family.node_len() } else { family.peer_len() };
        assert_eq!(len, data.len());
        let (public, private) = (AddressPolicy::Public, AddressPolicy::AllowPrivate);
        assert!(!public.admits(addr) || private.admits(addr));
        assert!(!public.admits_node(addr) || public.admits(addr));
        assert_eq!(private.admits(addr), may_be_owned(addr), "{addr}");
        assert_eq!(public.admits(addr), is_routable(addr), "{addr}");
    }
}
