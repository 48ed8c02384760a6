//! KRPC, the datagrams of the DHT (BEP 5, 32, 33, 42, 43, 51): a pure codec for both directions.
//!
//! [`Message::parse`] reads one datagram in one pass, borrows from it and allocates nothing.
//! [`emit_query`], [`emit_method`], [`emit_reply`] and [`emit_error`] append canonical bencode to
//! the caller's buffer. What the field gets wrong is tolerated as far as it still means something
//! (catalogue D1-D21) and flagged in [`Tolerated`].
//!
//! The codec must never judge: it neither filters addresses nor clamps intervals nor counts
//! anything, and no content of a datagram may make it panic. Whoever uses a message applies the
//! address policy and the caps of what may be taken from one reply (H11, H17, H19, H21).

mod compact;
mod emit;
mod parse;

use std::fmt;
use std::net::SocketAddr;

use crate::base::addr::Family;
use crate::base::flags::{FlagSet, flags};
use crate::base::id::{Id, InfoHash, NodeId};
use crate::codec::bencode;
use crate::limits::{
    DATAGRAM_LEN_MAX, DATAGRAM_LEN_MIN, KRPC_DEPTH_MAX, KRPC_TOKENS_MAX, TOKEN_LEN_MAX,
    TRANSACTION_LEN_MAX,
};

pub use compact::{Nodes, Samples, Values};
pub use emit::{Ask, Envelope, ReplyBody, emit_error, emit_method, emit_query, emit_reply};

/// The length of a scrape filter in bytes; any other counts as absent (BEP 33).
pub const BLOOM_LEN: usize = 256;

/// Error codes of BEP 5.
pub mod code {
    /// Generic error.
    pub const GENERIC: i64 = 201;
    /// Server error.
    pub const SERVER: i64 = 202;
    /// Malformed packet, invalid arguments or bad token.
    pub const PROTOCOL: i64 = 203;
    /// Method unknown.
    pub const METHOD_UNKNOWN: i64 = 204;
}

/// One datagram, borrowing from the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The transaction id `t`, never empty; of a query at most [`TRANSACTION_LEN_MAX`] bytes.
    pub transaction: &'a [u8],
    /// The sender's software `v`, opaque and of any length.
    pub version: Option<&'a [u8]>,
    /// Whether the sender says that it answers no queries (`ro`, BEP 43).
    pub read_only: bool,
    /// Our own address as the sender saw it (`ip`, BEP 42); port 0 where it named none (D16).
    pub external: Option<SocketAddr>,
    /// What the message says.
    pub kind: Kind<'a>,
    /// What was wrong with it and accepted all the same.
    pub flags: Tolerated,
}

/// The three kinds of message (`y`).
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// A question to us.
    Query(Query<'a>),
    /// An answer to a query.
    Reply(Reply<'a>),
    /// A refusal of a query.
    Error(ErrorReply<'a>),
}

/// A query: who asks, what, and for contacts of which families.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// The id that the sender claims.
    pub id: NodeId,
    /// What is asked.
    pub method: Method<'a>,
    /// The families of contacts that the sender wants back.
    pub want: Want,
}

/// What a query asks, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// Are you there? (BEP 5)
    Ping,
    /// The contacts closest to a point (BEP 5).
    FindNode {
        /// The point.
        target: Id,
    },
    /// The peers of a torrent, and the contacts closest to it (BEP 5).
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
        /// Also asks for the scrape filters (BEP 33).
        scrape: bool,
        /// Prefers peers that are no seeds (BEP 33).
        noseed: bool,
    },
    /// The sender is a peer of a torrent (BEP 5).
    AnnouncePeer {
        /// The torrent.
        info_hash: InfoHash,
        /// The port it listens on; 0 only together with `implied_port`.
        port: u16,
        /// The port is the datagram's source port instead.
        implied_port: bool,
        /// The token that we handed out.
        token: &'a [u8],
        /// It has the whole torrent (BEP 33).
        seed: bool,
    },
    /// A sample of the infohashes that we store (BEP 51).
    SampleInfohashes {
        /// Steers the contacts of the answer, not its samples.
        target: Id,
    },
    /// A method above without an argument that it needs: to be answered with
    /// [`code::PROTOCOL`] and [`BadArgument::text`].
    Malformed {
        /// The method's name.
        name: &'a [u8],
        /// The argument.
        argument: BadArgument,
    },
    /// Any other method. One with a 20-byte `target` or `info_hash` is answered as `find_node`
    /// (5.14).
    Unknown {
        /// The method's name.
        name: &'a [u8],
        /// Its `target`, or else its `info_hash`.
        target: Option<Id>,
    },
}

/// An argument that a method needs and the query lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadArgument {
    /// Which one.
    pub key: ArgumentKey,
    /// Whether it is missing; otherwise its type, length or range is wrong.
    pub missing: bool,
}

/// The arguments that some method needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKey {
    /// `target`, 20 bytes.
    Target,
    /// `info_hash`, 20 bytes.
    InfoHash,
    /// `port`, 1..=65535.
    Port,
    /// `token`, a string.
    Token,
}

impl BadArgument {
    /// The error text that names the key.
    pub const fn text(self) -> &'static [u8] {
        match (self.key, self.missing) {
            (ArgumentKey::Target, true) => b"missing 'target' key",
            (ArgumentKey::Target, false) => b"invalid 'target' value",
            (ArgumentKey::InfoHash, true) => b"missing 'info_hash' key",
            (ArgumentKey::InfoHash, false) => b"invalid 'info_hash' value",
            (ArgumentKey::Port, true) => b"missing 'port' key",
            (ArgumentKey::Port, false) => b"invalid 'port' value",
            (ArgumentKey::Token, true) => b"missing 'token' key",
            (ArgumentKey::Token, false) => b"invalid 'token' value",
        }
    }
}

/// The families of contacts that a query wants back (`want`, BEP 32). The default, none named,
/// means those of the datagram's own family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// `n4`: contacts of IPv4.
    pub v4: bool,
    /// `n6`: contacts of IPv6.
    pub v6: bool,
}

impl Want {
    /// Names no family: the datagram's own.
    pub const UNSPECIFIED: Self = Self { v4: false, v6: false };
    /// Both families.
    pub const BOTH: Self = Self { v4: true, v6: true };

    /// Whether a query that came over `over` is to be answered with contacts of `family`.
    pub fn includes(self, family: Family, over: Family) -> bool {
        match (self.v4 || self.v6, family) {
            (false, family) => family == over,
            (true, Family::V4) => self.v4,
            (true, Family::V6) => self.v6,
        }
    }
}

/// An answer: every field that any method may bring, each absent if it was of the wrong type
/// (D10).
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// The id that the sender claims.
    pub id: NodeId,
    /// Contacts of IPv4 (`nodes`); none if absent (D4).
    pub nodes: Nodes<'a>,
    /// Contacts of IPv6 (`nodes6`, BEP 32); none if absent.
    pub nodes6: Nodes<'a>,
    /// Peers of the torrent (`values`); none if absent.
    pub values: Values<'a>,
    /// What an announce to the sender must carry, at most [`TOKEN_LEN_MAX`] bytes.
    pub token: Option<&'a [u8]>,
    /// A sample of the sender's infohashes. Present, even if empty, only where BEP 51 is
    /// supported (51.2).
    pub samples: Option<Samples<'a>>,
    /// Seconds until the sender changes its sample, as sent: unchecked (51.5).
    pub interval: Option<i64>,
    /// How many infohashes the sender stores, as sent: unchecked.
    pub num: Option<i64>,
    /// Filter over the addresses of seeds (`BFsd`, BEP 33), [`BLOOM_LEN`] bytes.
    pub bfsd: Option<&'a [u8]>,
    /// Filter over the addresses of other peers (`BFpe`, BEP 33), [`BLOOM_LEN`] bytes.
    pub bfpe: Option<&'a [u8]>,
}

/// A refusal, whatever shape it came in (D5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// The error code, usually one of [`code`]; absent if none was sent.
    pub code: Option<i64>,
    /// The sender's words; empty if none were sent.
    pub text: &'a [u8],
}

flags! {
    /// Something that was wrong with a message that was read all the same.
    pub enum Oddity {
        /// Bytes after the message (D15).
        Trailing,
        /// Contacts or samples that end in a fraction of an entry, which was dropped (D1).
        Ragged,
        /// Fields of another type or length than due, which count as absent (D10, D16, D19).
        Mistyped,
        /// Peers that are neither 6 nor 18 bytes: several in one string, or unusable (D2, D3).
        OddValues,
    }
}

/// What was wrong with a message that was read all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerated {
    /// Bencode that is not canonical (D14).
    pub bencode: bencode::Flags,
    /// What was wrong with the message itself.
    pub oddities: FlagSet<Oddity>,
}

impl Tolerated {
    /// Whether nothing was wrong.
    pub fn is_clean(self) -> bool {
        self == Self::default()
    }

    /// Whether `oddity` was met.
    pub fn contains(self, oddity: Oddity) -> bool {
        self.oddities.contains(oddity)
    }
}

/// Why a datagram is no message. None of these is worth an answer, except as
/// [`ParseError::refusal`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError<'a> {
    /// Shorter than [`DATAGRAM_LEN_MIN`] (H5).
    TooShort,
    /// Longer than [`DATAGRAM_LEN_MAX`] (H5).
    TooLong,
    /// Something else than a dictionary.
    NotDictionary,
    /// Not bencode, or beyond [`KRPC_DEPTH_MAX`] or [`KRPC_TOKENS_MAX`].
    NotBencode(bencode::Error),
    /// No transaction id, or an empty one (D6, D21).
    NoTransaction,
    /// A query whose transaction id is longer than [`TRANSACTION_LEN_MAX`].
    LongTransaction,
    /// Neither query nor reply nor error (D9).
    NoKind,
    /// A query that names no method.
    NoMethod {
        /// The query's transaction id.
        transaction: &'a [u8],
    },
    /// A query without a 20-byte `id`.
    BadQueryId {
        /// The query's transaction id.
        transaction: &'a [u8],
    },
    /// A reply without a 20-byte `id`: the call failed, and nothing of the reply counts (D11).
    BadReplyId {
        /// The transaction id of the call.
        transaction: &'a [u8],
    },
}

impl<'a> ParseError<'a> {
    /// The call that this datagram ends in failure, if it is an answer to one (D11). As with any
    /// answer, transaction and source must both match an open call (H6).
    pub const fn failed_call(self) -> Option<&'a [u8]> {
        match self {
            Self::BadReplyId { transaction } => Some(transaction),
            _ => None,
        }
    }

    /// The transaction id and text with which a server may answer [`code::PROTOCOL`].
    pub const fn refusal(self) -> Option<(&'a [u8], &'static [u8])> {
        match self {
            Self::NoMethod { transaction } => Some((transaction, b"missing 'q' key")),
            Self::BadQueryId { transaction } => Some((transaction, b"missing 'id' key")),
            _ => None,
        }
    }
}

impl fmt::Display for ParseError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "too short for a KRPC message",
            Self::TooLong => "too long for a KRPC message",
            Self::NotDictionary => "not a dictionary",
            Self::NotBencode(error) => return write!(f, "not bencode: {error}"),
            Self::NoTransaction => "no transaction id",
            Self::LongTransaction => "a query with an oversized transaction id",
            Self::NoKind => "neither query nor reply nor error",
            Self::NoMethod { .. } => "a query that names no method",
            Self::BadQueryId { .. } => "a query without a 20-byte id",
            Self::BadReplyId { .. } => "a reply without a 20-byte id",
        })
    }
}

impl std::error::Error for ParseError<'_> {}

#[cfg(test)]
mod tests;
