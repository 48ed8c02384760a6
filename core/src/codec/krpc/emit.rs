//! Writes datagrams: canonical bencode, appended to the caller's buffer.

use std::net::SocketAddr;

use super::{BLOOM_LEN, Method, Want};
use crate::base::addr::{Contact, Family, emit_node, emit_peer};
use crate::base::id::{ID_LEN, Id, InfoHash, NodeId};
use crate::codec::bencode::Writer;

/// What surrounds every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The transaction id: of a query our own choice, otherwise the query's, byte for byte.
    pub transaction: &'a [u8],
    /// Our software (`v`): two letters and two bytes of version (BEP 5).
    pub version: Option<[u8; 4]>,
    /// Whether to say that we answer no queries (`ro`, BEP 43): in queries only.
    pub read_only: bool,
    /// The receiver's address as we see it (`ip`, BEP 42): in replies and errors.
    pub external: Option<SocketAddr>,
}

/// The queries that a crawler asks. [`Method`] has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Is the node there?
    Ping,
    /// The contacts closest to a point.
    FindNode {
        /// The point.
        target: Id,
    },
    /// The peers of a torrent.
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
    },
    /// A sample of the node's infohashes (BEP 51).
    SampleInfohashes {
        /// Steers the contacts of the answer.
        target: Id,
    },
}

impl Ask {
    /// The method with its arguments.
    pub const fn method(self) -> Method<'static> {
        match self {
            Self::Ping => Method::Ping,
            Self::FindNode { target } => Method::FindNode { target },
            Self::GetPeers { info_hash } => {
                Method::GetPeers { info_hash, scrape: false, noseed: false }
            }
            Self::SampleInfohashes { target } => Method::SampleInfohashes { target },
        }
    }
}

/// What an answer carries. Empty lists are left out; `samples` is left out only if `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyBody<'a> {
    /// Our id.
    pub id: NodeId,
    /// Contacts for `nodes`; those that are not IPv4 are left out.
    pub nodes: &'a [Contact],
    /// Contacts for `nodes6`; those that are not IPv6 are left out.
    pub nodes6: &'a [Contact],
    /// Peers of the torrent: of the datagram's own family only (32.1).
    pub values: &'a [SocketAddr],
    /// What an announce to us must carry.
    pub token: Option<&'a [u8]>,
    /// Infohashes that we store; `Some` even if empty in every answer to `sample_infohashes`.
    pub samples: Option<&'a [InfoHash]>,
    /// Seconds until the sample changes, 0..=21600.
    pub interval: Option<i64>,
    /// How many infohashes we store.
    pub num: Option<i64>,
    /// Filter over the addresses of seeds (BEP 33).
    pub bfsd: Option<&'a [u8; BLOOM_LEN]>,
    /// Filter over the addresses of other peers (BEP 33).
    pub bfpe: Option<&'a [u8; BLOOM_LEN]>,
}

impl ReplyBody<'_> {
    /// An answer that carries nothing but our id: the one to `ping` and `announce_peer`.
    pub const fn new(id: NodeId) -> Self {
        Self {
            id,
            nodes: &[],
            nodes6: &[],
            values: &[],
            token: None,
            samples: None,
            interval: None,
            num: None,
            bfsd: None,
            bfpe: None,
        }
    }
}

/// Appends a query.
pub fn emit_query(out: &mut Vec<u8>, envelope: &Envelope<'_>, id: NodeId, ask: &Ask, want: Want) {
    emit_method(out, envelope, id, &ask.method(), want);
}

/// Appends a query of any method. [`Method::Malformed`] becomes one without arguments.
pub fn emit_method(
    out: &mut Vec<u8>,
    envelope: &Envelope<'_>,
    id: NodeId,
    method: &Method<'_>,
    want: Want,
) {
    let mut w = Writer::new(out);
    w.dict().bytes(b"a").dict().bytes(b"id").bytes(&id.0);
    emit_arguments(&mut w, method);
    if want != Want::UNSPECIFIED {
        w.bytes(b"want").list();
        if want.v4 {
            w.bytes(b"n4");
        }
        if want.v6 {
            w.bytes(b"n6");
        }
        w.end();
    }
    w.end();
    emit_external(&mut w, envelope);
    w.bytes(b"q").bytes(method_name(method));
    emit_rest(&mut w, envelope, b"q");
}

/// Appends an answer.
pub fn emit_reply(out: &mut Vec<u8>, envelope: &Envelope<'_>, reply: &ReplyBody<'_>) {
    let mut w = Writer::new(out);
    w.dict();
    emit_external(&mut w, envelope);
    w.bytes(b"r").dict();
    for (key, filter) in [(b"BFpe", reply.bfpe), (b"BFsd", reply.bfsd)] {
        if let Some(filter) = filter {
            w.bytes(key).bytes(filter);
        }
    }
    w.bytes(b"id").bytes(&reply.id.0);
    emit_optional_int(&mut w, b"interval", reply.interval);
    emit_contacts(&mut w, b"nodes", Family::V4, reply.nodes);
    emit_contacts(&mut w, b"nodes6", Family::V6, reply.nodes6);
    emit_optional_int(&mut w, b"num", reply.num);
    if let Some(samples) = reply.samples {
        w.bytes(b"samples").bytes_with(samples.len() * ID_LEN, |out| {
            samples.iter().for_each(|sample| out.extend_from_slice(&sample.0));
        });
    }
    if let Some(token) = reply.token {
        w.bytes(b"token").bytes(token);
    }
    if !reply.values.is_empty() {
        w.bytes(b"values").list();
        for &peer in reply.values {
            w.bytes_with(Family::of(peer).peer_len(), |out| emit_peer(peer, out));
        }
        w.end();
    }
    w.end();
    emit_rest(&mut w, envelope, b"r");
}

/// Appends a refusal. Codes: [`super::code`].
pub fn emit_error(out: &mut Vec<u8>, envelope: &Envelope<'_>, code: i64, text: &[u8]) {
    let mut w = Writer::new(out);
    w.dict().bytes(b"e").list().int(code).bytes(text).end();
    emit_external(&mut w, envelope);
    emit_rest(&mut w, envelope, b"e");
}

fn method_name<'a>(method: &Method<'a>) -> &'a [u8] {
    match *method {
        Method::Ping => b"ping",
        Method::FindNode { .. } => b"find_node",
        Method::GetPeers { .. } => b"get_peers",
        Method::AnnouncePeer { .. } => b"announce_peer",
        Method::SampleInfohashes { .. } => b"sample_infohashes",
        Method::Malformed { name, .. } | Method::Unknown { name, .. } => name,
    }
}

/// The arguments between `id` and `want`, in ascending order.
fn emit_arguments(w: &mut Writer<'_>, method: &Method<'_>) {
    match *method {
        Method::Ping | Method::Malformed { .. } | Method::Unknown { target: None, .. } => {}
        Method::FindNode { target }
        | Method::SampleInfohashes { target }
        | Method::Unknown { target: Some(target), .. } => {
            w.bytes(b"target").bytes(&target.0);
        }
        Method::GetPeers { info_hash, scrape, noseed } => {
            w.bytes(b"info_hash").bytes(&info_hash.0);
            emit_switch(w, b"noseed", noseed);
            emit_switch(w, b"scrape", scrape);
        }
        Method::AnnouncePeer { info_hash, port, implied_port, token, seed } => {
            emit_switch(w, b"implied_port", implied_port);
            w.bytes(b"info_hash").bytes(&info_hash.0).bytes(b"port").int(i64::from(port));
            emit_switch(w, b"seed", seed);
            w.bytes(b"token").bytes(token);
        }
    }
}

fn emit_switch(w: &mut Writer<'_>, key: &[u8], on: bool) {
    if on {
        w.bytes(key).int(1);
    }
}

fn emit_optional_int(w: &mut Writer<'_>, key: &[u8], value: Option<i64>) {
    if let Some(value) = value {
        w.bytes(key).int(value);
    }
}

fn emit_contacts(w: &mut Writer<'_>, key: &[u8], family: Family, contacts: &[Contact]) {
    let fitting = || contacts.iter().filter(|contact| Family::of(contact.addr) == family);
    let count = fitting().count();
    if count > 0 {
        w.bytes(key).bytes_with(count * family.node_len(), |out| {
            fitting().for_each(|&contact| emit_node(contact, out));
        });
    }
}

fn emit_external(w: &mut Writer<'_>, envelope: &Envelope<'_>) {
    if let Some(addr) = envelope.external {
        w.bytes(b"ip").bytes_with(Family::of(addr).peer_len(), |out| emit_peer(addr, out));
    }
}

/// The top-level keys after the body, and the end.
fn emit_rest(w: &mut Writer<'_>, envelope: &Envelope<'_>, kind: &[u8]) {
    emit_switch(w, b"ro", envelope.read_only);
    w.bytes(b"t").bytes(envelope.transaction);
    if let Some(version) = envelope.version {
        w.bytes(b"v").bytes(&version);
    }
    w.bytes(b"y").bytes(kind).end();
}
