//! What a datagram says that the crawler sent: strictly read, one canonical dictionary and nothing
//! else, or one whole uTP packet.

use super::bencode::{Limits, Value};
use super::class::Class;
use super::utp::Packet;

/// A datagram that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outgoing<'a> {
    Query(Query<'a>),
    Answer(Answer<'a>),
    Utp(Packet),
    /// Something that may never be sent: why.
    Wrong(&'static str),
}

/// The queries that a crawler has reason to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Ping,
    FindNode,
    GetPeers([u8; 20]),
    Sample,
}

/// A query that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub(super) transaction: &'a [u8],
    pub(super) id: [u8; 20],
    pub(super) read_only: bool,
    pub(super) ask: Ask,
}

/// An answer that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) transaction: &'a [u8],
    /// What a reply says; none in an error.
    pub(super) reply: Option<ReplyParts<'a>>,
}

/// The parts of a reply that was sent which matter here.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyParts<'a> {
    pub(super) id: [u8; 20],
    pub(super) token: Option<&'a [u8]>,
}

/// Reads a datagram that was sent, and tells its class.
pub(super) fn sent(datagram: &[u8]) -> (Class, Outgoing<'_>) {
    if let Some(packet) = Packet::read(datagram) {
        return (Class::Utp, Outgoing::Utp(packet));
    }
    let root = Value::read(datagram, Limits::STRICT).filter(|root| root.is_dict());
    let Some(root) = root.filter(|root| root.len() == datagram.len()) else {
        return (Class::of(datagram), Outgoing::Wrong("not canonical bencode"));
    };
    let read = match root.get(b"y").and_then(Value::bytes) {
        Some(b"q") => (Class::Query, query(root).map(Outgoing::Query)),
        Some(b"r") => (Class::Reply, reply(root).map(Outgoing::Answer)),
        Some(b"e") => (Class::Error, error(root).map(Outgoing::Answer)),
        _ => (Class::Unknown, Err("no kind")),
    };
    (read.0, read.1.unwrap_or_else(Outgoing::Wrong))
}

fn query(root: Value<'_>) -> Result<Query<'_>, &'static str> {
    let bytes = |key: &[u8]| root.get(key).and_then(Value::bytes);
    let transaction = bytes(b"t").filter(|t| (1..=8).contains(&t.len()));
    let transaction = transaction.ok_or("a transaction id of no use (5.2)")?;
    let arguments = root.get(b"a").ok_or("no arguments")?;
    let argument =
        |key: &[u8]| -> Option<[u8; 20]> { arguments.get(key)?.bytes()?.try_into().ok() };
    let id = argument(b"id").ok_or("no id of 20 bytes")?;
    let target = || argument(b"target").ok_or("no target of 20 bytes");
    let ask = match bytes(b"q") {
        Some(b"ping") => Ask::Ping,
        Some(b"find_node") => target().map(|_| Ask::FindNode)?,
        Some(b"sample_infohashes") => target().map(|_| Ask::Sample)?,
        Some(b"get_peers") => {
            Ask::GetPeers(argument(b"info_hash").ok_or("no info_hash of 20 bytes")?)
        }
        _ => return Err("a method that a crawler has no reason to use"),
    };
    let read_only = root.get(b"ro").and_then(Value::int) == Some(1);
    Ok(Query { transaction, id, read_only, ask })
}

fn reply(root: Value<'_>) -> Result<Answer<'_>, &'static str> {
    let results = root.get(b"r").ok_or("a reply without results")?;
    let bytes = |key: &[u8]| results.get(key).and_then(Value::bytes);
    let id = bytes(b"id").and_then(|id| id.try_into().ok()).ok_or("no id of 20 bytes")?;
    let reply = Some(ReplyParts { id, token: bytes(b"token") });
    Ok(Answer { transaction: transaction(root)?, reply })
}

fn error(root: Value<'_>) -> Result<Answer<'_>, &'static str> {
    let list = root.get(b"e").ok_or("an error without a list")?;
    let mut items = list.items();
    let (code, words) = (items.next().and_then(Value::int), items.next().and_then(Value::bytes));
    code.zip(words).ok_or("an error without code and words (5.2)")?;
    Ok(Answer { transaction: transaction(root)?, reply: None })
}

/// That of an answer: whatever the asker chose.
fn transaction(root: Value<'_>) -> Result<&[u8], &'static str> {
    root.get(b"t").and_then(Value::bytes).ok_or("an answer without a transaction id")
}
