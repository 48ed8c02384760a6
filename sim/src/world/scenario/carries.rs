//! Over what the crawler connects to peers.

use std::fmt;
use std::str::FromStr;

use estudely_core::TransportPolicy;

use crate::world::dht::Carriage;

/// Over what the crawler connects to peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// TCP alone.
    Tcp,
    /// TCP and uTP.
    Both,
    /// uTP alone.
    Utp,
}

impl Carries {
    /// Each, with its word.
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Tcp, "tcp"), (Self::Both, "both"), (Self::Utp, "utp")];

    /// The crawler's setting.
    pub(super) const fn policy(self) -> TransportPolicy {
        match self {
            Self::Tcp => TransportPolicy::Tcp,
            Self::Both => TransportPolicy::Any,
            Self::Utp => TransportPolicy::Utp,
        }
    }

    /// Whether there are connections over TCP.
    pub const fn has_tcp(self) -> bool {
        !matches!(self, Self::Utp)
    }

    /// Whether there are connections over uTP.
    pub const fn has_utp(self) -> bool {
        !matches!(self, Self::Tcp)
    }

    /// Whether it gets through to a peer that takes connections over `carriage`.
    pub const fn reaches(self, carriage: Carriage) -> bool {
        self.has_tcp() && carriage.has_tcp() || self.has_utp() && carriage.has_utp()
    }

    /// Whether a peer that takes connections over `carriage` accepts one at all.
    pub const fn meets(self, carriage: Carriage) -> bool {
        self.reaches(carriage) || self.has_tcp() && carriage.accepts_tcp()
    }

    /// Whether it gets through to such a peer over uTP alone.
    pub const fn needs_utp(self, carriage: Carriage) -> bool {
        self.reaches(carriage) && !(self.has_tcp() && carriage.has_tcp())
    }
}

impl fmt::Display for Carries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_this = |(word_of, word): (Self, &'static str)| (word_of == *self).then_some(word);
        f.write_str(Self::WORDS.into_iter().find_map(of_this).unwrap_or_default())
    }
}

impl FromStr for Carries {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of_this = |(word_of, word): (Self, &str)| (word == text).then_some(word_of);
        Self::WORDS.into_iter().find_map(of_this).ok_or("want tcp, both or utp")
    }
}
