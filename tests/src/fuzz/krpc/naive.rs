//! A message by an independent decoder and naive chunking: every field that ours was given must be
//! exactly that. Only for messages in which nothing was tolerated.

use std::net::{IpAddr, SocketAddr};

use bt_bencode::Value;
use estudely_core::krpc::{ArgumentKey, BadArgument, Kind, Message, Method, Query, Reply};
use estudely_core::{Contact, Id, InfoHash, NodeId};

/// Compares every field of `message` with what the decoder found.
pub(super) fn confirm(root: &Value, message: &Message<'_>) {
    assert_eq!(text(root, "t").as_deref(), Some(message.transaction));
    assert_eq!(text(root, "v").as_deref(), message.version);
    assert_eq!(is_set(root, "ro"), message.read_only);
    assert_eq!(text(root, "ip").map(|ip| addr(&ip)), message.external);
    let (kind, place) = match &message.kind {
        Kind::Query(_) => (b"q", "a"),
        Kind::Reply(_) => (b"r", "r"),
        Kind::Error(_) => (b"e", "e"),
    };
    assert_eq!(text(root, "y").as_deref(), Some(&kind[..]));
    match (&message.kind, root.get(place)) {
        (Kind::Query(ours), Some(theirs)) => {
            assert_eq!(text(root, "q").as_deref(), Some(name(&ours.method)));
            query(theirs, ours);
        }
        (Kind::Reply(ours), Some(theirs)) => reply(theirs, ours),
        (Kind::Error(ours), theirs) => {
            let items = theirs.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            assert_eq!(ours.code, items.iter().find_map(integer));
            let said = items.iter().find_map(Value::as_byte_str);
            assert_eq!(ours.text, said.map(|said| said.to_vec()).unwrap_or_default());
        }
        (kind, None) => panic!("{kind:?} has nothing to say"),
    }
}

fn query(theirs: &Value, ours: &Query<'_>) {
    assert_eq!(node_id(theirs), ours.id);
    let wants = |family: &[u8]| {
        let items = theirs.get("want").and_then(Value::as_array);
        let mut items = items.into_iter().flatten().filter_map(Value::as_byte_str);
        items.any(|item| item.to_vec() == family)
    };
    assert_eq!((wants(b"n4"), wants(b"n6")), (ours.want.v4, ours.want.v6));
    let target = twenty(theirs, "target").map(Id);
    let info_hash = twenty(theirs, "info_hash");
    let port = number(theirs, "port").filter(|port| (1..=65_535).contains(port));
    match ours.method {
        Method::Ping => {}
        Method::FindNode { target: ours } | Method::SampleInfohashes { target: ours } => {
            assert_eq!(target, Some(ours));
        }
        Method::GetPeers { info_hash: ours, scrape, noseed } => {
            assert_eq!(info_hash, Some(ours.0));
            assert_eq!((is_set(theirs, "scrape"), is_set(theirs, "noseed")), (scrape, noseed));
        }
        Method::AnnouncePeer { info_hash: ours, port: at, implied_port, token, seed } => {
            assert_eq!(info_hash, Some(ours.0));
            assert_eq!(
                (is_set(theirs, "implied_port"), is_set(theirs, "seed")),
                (implied_port, seed)
            );
            assert_eq!(port.unwrap_or(0), i64::from(at));
            assert!(port.is_some() || implied_port, "a port, this one or the datagram's");
            assert_eq!(text(theirs, "token").as_deref(), Some(token));
        }
        Method::Malformed { name, argument: BadArgument { key, missing } } => {
            let (key, is_good) = match key {
                ArgumentKey::Target => ("target", target.is_some()),
                ArgumentKey::InfoHash => ("info_hash", info_hash.is_some()),
                ArgumentKey::Port => ("port", port.is_some()),
                ArgumentKey::Token => ("token", text(theirs, "token").is_some()),
            };
            assert!(!is_good && missing == theirs.get(key).is_none(), "{key}");
            let needs: &[&str] = match name {
                b"find_node" | b"sample_infohashes" => &["target"],
                b"get_peers" => &["info_hash"],
                b"announce_peer" => &["info_hash", "port", "token"],
                _ => &[],
            };
            assert!(needs.contains(&key), "no such method needs {key}");
        }
        Method::Unknown { target: ours, .. } => assert_eq!(ours, target.or(info_hash.map(Id))),
    }
}

fn reply(theirs: &Value, ours: &Reply<'_>) {
    assert_eq!(node_id(theirs), ours.id);
    let nodes = |key: &str, length: usize| -> Vec<Contact> {
        let packed = text(theirs, key).unwrap_or_default();
        packed.chunks_exact(length).map(contact).collect()
    };
    assert!(ours.nodes.clone().eq(nodes("nodes", 26)));
    assert!(ours.nodes6.clone().eq(nodes("nodes6", 38)));
    let values = theirs.get("values").and_then(Value::as_array).into_iter().flatten();
    let values = values.filter_map(Value::as_byte_str).map(|value| addr(value.as_ref()));
    assert!(ours.values.clone().eq(values));
    let samples = text(theirs, "samples").map(|packed| -> Vec<InfoHash> {
        packed.chunks_exact(20).map(|hash| InfoHash(hash.try_into().expect("20 bytes"))).collect()
    });
    assert_eq!(ours.samples.clone().map(Iterator::collect), samples);
    assert_eq!(ours.token, text(theirs, "token").as_deref());
    let numbers = (number(theirs, "interval"), number(theirs, "num"));
    assert_eq!((ours.interval, ours.num), numbers);
    assert_eq!(ours.bfsd, text(theirs, "BFsd").as_deref());
    assert_eq!(ours.bfpe, text(theirs, "BFpe").as_deref());
}

fn name<'a>(method: &Method<'a>) -> &'a [u8] {
    match method {
        Method::Ping => b"ping",
        Method::FindNode { .. } => b"find_node",
        Method::GetPeers { .. } => b"get_peers",
        Method::AnnouncePeer { .. } => b"announce_peer",
        Method::SampleInfohashes { .. } => b"sample_infohashes",
        Method::Malformed { name, .. } | Method::Unknown { name, .. } => name,
    }
}

fn text(value: &Value, key: &str) -> Option<Vec<u8>> {
    value.get(key).and_then(Value::as_byte_str).map(|text| text.to_vec())
}

fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| i64::try_from(value.as_u64()?).ok())
}

fn number(value: &Value, key: &str) -> Option<i64> {
    value.get(key).and_then(integer)
}

fn is_set(value: &Value, key: &str) -> bool {
    number(value, key).is_some_and(|number| number != 0)
}

fn twenty(value: &Value, key: &str) -> Option<[u8; 20]> {
    text(value, key)?.try_into().ok()
}

fn node_id(value: &Value) -> NodeId {
    NodeId(twenty(value, "id").expect("whoever speaks has an id"))
}

fn contact(packed: &[u8]) -> Contact {
    Contact { id: NodeId(packed[..20].try_into().expect("20 bytes")), addr: addr(&packed[20..]) }
}

/// An address, and a port or none.
fn addr(packed: &[u8]) -> SocketAddr {
    let length = if packed.len() < 16 { 4 } else { 16 };
    let ip: IpAddr = match length {
        4 => <[u8; 4]>::try_from(&packed[..4]).expect("4 bytes").into(),
        _ => <[u8; 16]>::try_from(&packed[..16]).expect("16 bytes").into(),
    };
    let port = packed[length..].iter().fold(0, |port, byte| port << 8 | u16::from(*byte));
    SocketAddr::new(ip, port)
}
