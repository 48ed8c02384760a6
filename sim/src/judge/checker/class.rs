//! What kind of datagram crossed the boundary, by the checker's own reading of its first bytes.
//!
//! Rules stand for classes: a query has an open transaction, an answer had a question, a uTP packet
//! has neither. What goes over connections is peer wire, has no class, and is read by `wire`.

use super::bencode::{Limits, Value};
use super::utp::Packet;

/// What a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// KRPC: asks for something.
    Query,
    /// KRPC: answers a query.
    Reply,
    /// KRPC: refuses a query.
    Error,
    /// A packet of a uTP connection (BEP 29).
    Utp,
    /// Anything else. Nothing of the kind may be sent.
    Unknown,
}

impl Class {
    /// How many there are.
    pub(super) const COUNT: usize = 5;

    /// The class of a datagram, whether or not it keeps the rules of its class. KRPC begins with
    /// `d`, and no uTP header does.
    pub(super) fn of(datagram: &[u8]) -> Self {
        if datagram.first() != Some(&b'd') {
            return Packet::read(datagram).map_or(Self::Unknown, |_| Self::Utp);
        }
        let root = Value::read(datagram, Limits::KRPC);
        match root.and_then(|root| root.get(b"y")).and_then(Value::bytes) {
            Some(b"q") => Self::Query,
            Some(b"r") => Self::Reply,
            Some(b"e") => Self::Error,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_classes_apart() {
        let utp = |first: u8| [&[first][..], &[0; 19]].concat();
        for (datagram, class) in [
            (&b"d1:q4:ping1:t2:aa1:y1:qe"[..], Class::Query),
            (b"d1:t2:aa1:y1:re", Class::Reply),
            (b"d1:t2:aa1:y1:ee", Class::Error),
            (b"d1:t2:aa1:y1:xe", Class::Unknown),
            (b"d1:t2:aae", Class::Unknown),
            (b"d1:t2:aa1:y1:q", Class::Unknown),
            (b"i1e", Class::Unknown),
            (b"", Class::Unknown),
            (&utp(0x01), Class::Utp),
            (&utp(0x41), Class::Utp),
            (&utp(0x51), Class::Unknown),
            (&utp(0x42), Class::Unknown),
        ] {
            assert_eq!(Class::of(datagram), class, "{}", datagram.escape_ascii());
        }
    }
}
