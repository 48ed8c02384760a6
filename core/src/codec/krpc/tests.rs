//! The vectors of BEP 5 (catalogue S1), each tolerated deviation by number (D1-D21), and what the
//! codec carries of libtorrent's DHT scenarios (S3).

mod deviations;
mod properties;
mod vectors;

use super::*;

/// Reads a message that must be readable.
fn parse(datagram: &[u8]) -> Message<'_> {
    match Message::parse(datagram) {
        Ok(message) => message,
        Err(error) => panic!("{error}: {}", datagram.escape_ascii()),
    }
}

fn query(datagram: &[u8]) -> Query<'_> {
    match parse(datagram).kind {
        Kind::Query(query) => query,
        other => panic!("not a query: {other:?}"),
    }
}

fn reply(datagram: &[u8]) -> Reply<'_> {
    match parse(datagram).kind {
        Kind::Reply(reply) => reply,
        other => panic!("not a reply: {other:?}"),
    }
}

fn refusal(datagram: &[u8]) -> ErrorReply<'_> {
    match parse(datagram).kind {
        Kind::Error(error) => error,
        other => panic!("not an error: {other:?}"),
    }
}

/// A reply whose `r` holds `id` and then `fields`.
fn reply_with(fields: &[u8]) -> Vec<u8> {
    [b"d1:rd2:id20:mnopqrstuvwxyz123456", fields, b"e1:t2:aa1:y1:re"].concat()
}

/// A query of `method` whose `a` holds `id` and then `arguments`.
fn query_with(method: &str, arguments: &[u8]) -> Vec<u8> {
    let name = format!("e1:q{}:{method}1:t2:aa1:y1:qe", method.len());
    [b"d1:ad2:id20:abcdefghij0123456789", arguments, name.as_bytes()].concat()
}

/// A dictionary entry whose value is a string.
fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("{}:{key}{}:", key.len(), value.len());
    [head.as_bytes(), value].concat()
}

fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().expect("address")).collect()
}

/// The envelope that BEP 5's examples use.
const AA: Envelope<'static> =
    Envelope { transaction: b"aa", version: None, read_only: false, external: None };
