//! What an exchange is told to do and what it ends with.

use std::fmt;
use std::net::SocketAddr;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::base::fault::PeerFault;
use crate::base::id::{ID_LEN, InfoHash};
use crate::base::planted::{self, Bug};
use crate::base::time::Instant;
use crate::codec::info::{Info, InfoError};
use crate::peer::clients::Learnt;
use crate::peer::pieces::Pieces;

/// What carries the byte stream. More may follow: an adapter that does not have one ends the dial
/// as [`PeerFault::Unreachable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TCP, in the clear.
    Tcp,
    /// TCP with message stream encryption.
    TcpEncrypted,
    /// uTP (BEP 29), in the clear.
    Utp,
    /// uTP with message stream encryption.
    UtpEncrypted,
}

impl Transport {
    /// Whether packets over UDP carry it.
    pub const fn is_utp(self) -> bool {
        matches!(self, Self::Utp | Self::UtpEncrypted)
    }

    /// Whether it has message stream encryption.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::TcpEncrypted | Self::UtpEncrypted)
    }

    /// The word that outputs use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::TcpEncrypted => "tcp-encrypted",
            Self::Utp => "utp",
            Self::UtpEncrypted => "utp-encrypted",
        }
    }

    /// The same carrier, with encryption or without.
    pub(crate) const fn sealed(self, encrypted: bool) -> Self {
        match (self.is_utp(), encrypted) {
            (false, false) => Self::Tcp,
            (false, true) => Self::TcpEncrypted,
            (true, false) => Self::Utp,
            (true, true) => Self::UtpEncrypted,
        }
    }

    /// The same carrier, the other way.
    pub(crate) const fn other_seal(self) -> Self {
        self.sealed(!self.is_encrypted())
    }

    /// With as much encryption, over uTP or over TCP.
    pub(crate) const fn over_utp(self, utp: bool) -> Self {
        if utp { Self::Utp } else { Self::Tcp }.sealed(self.is_encrypted())
    }
}

/// How pieces are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pipeline {
    /// As many in one write as the client serves: quickest with nearly every one (9.6).
    All,
    /// The next when the last came, for clients that choke on more.
    OneByOne,
}

/// One way of trying a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// What carries the byte stream.
    pub transport: Transport,
    /// How pieces are asked for.
    pub pipeline: Pipeline,
}

/// How far an exchange came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Progress {
    /// Not connected.
    #[default]
    Nothing,
    /// Connected.
    Connected,
    /// Keys are exchanged, and how to go on is agreed. Of an exchange without encryption: past
    /// this, once it is handshaken.
    KeysExchanged,
    /// The peer's base handshake was right.
    Handshaken,
    /// The peer offered metadata of an acceptable size.
    Offered,
    /// Every piece came, whatever they hash to.
    Complete,
}

/// When an exchange reached what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Made.
    pub started: Instant,
    /// Connected.
    pub connected: Option<Instant>,
    /// Keys were exchanged and how to go on was agreed; never of an exchange without encryption.
    pub keys_exchanged: Option<Instant>,
    /// The peer's base handshake was complete and right.
    pub handshaken: Option<Instant>,
    /// The peer offered metadata of an acceptable size.
    pub offered: Option<Instant>,
    /// Over.
    pub ended: Instant,
}

/// How an exchange ended. Only an [`Exchange`](super::Exchange) makes one, so that fields can
/// follow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Verified metadata and what they say, or why there are none.
    pub result: Result<Fetched, PeerFault>,
    /// Whole but unverified pieces for the next peer that names the same size; never after a
    /// wrong hash.
    pub partial: Option<Pieces>,
    /// Peers that the peer told of.
    pub found_peers: Vec<SocketAddr>,
    /// What carried the byte stream.
    pub transport: Transport,
    /// When the exchange reached what.
    pub timings: Timings,
    /// How far it came.
    pub progress: Progress,
    /// How many pieces the metadata that the peer itself offered has; 0 before an acceptable offer,
    /// whatever earlier peers left.
    pub pieces_offered: u16,
    /// How many pieces this connection brought.
    pub pieces_new: u16,
    /// What the exchange showed of how many requests at once the peer's client serves.
    pub learnt: Option<Learnt>,
}

/// What to do after an input. There is no third thing: a caller that lists both is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Write what was appended to the output; wait for more input or the deadline.
    Continue,
    /// Over: write nothing more and close the stream.
    Finished(Box<Outcome>),
}

/// The one infohash whose metadata passes unchecked, and only where cargo-fuzz builds: no fuzzer
/// finds a preimage, and what lies behind the check is to be reached too. No metadata has it.
pub const UNGUARDED: InfoHash =
    InfoHash(*b"\x82\x7d\x0e\x5c\xc5\xe7\xd1\x1c\xbe\x5a\x3e\x22\x57\x2b\x9f\x08\x1d\x4b\x6a\x77");

/// An info dictionary whose hash is its infohash: no value of this type exists otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct Metadata {
    hash: InfoHash,
    raw: Box<[u8]>,
    is_v2_key: bool,
}

impl Metadata {
    /// Checks `raw` against `hash`, which is its SHA-1 or the first 20 bytes of its SHA-256
    /// (BEP 52, 9.7). Bytes that match neither are dropped, but see [`UNGUARDED`].
    pub fn verify(hash: InfoHash, raw: Vec<u8>) -> Option<Self> {
        #[cfg(test)]
        crate::base::work::note(raw.len());
        let is_v2_key = Sha1::digest(&raw)[..] != hash.0;
        let matches = !is_v2_key || Sha256::digest(&raw)[..ID_LEN] == hash.0;
        let matches = matches || (cfg!(fuzzing) && hash == UNGUARDED) || planted::is(Bug::SkipHash);
        matches.then(|| Self { hash, raw: raw.into_boxed_slice(), is_v2_key })
    }

    /// The DHT key that it was fetched under.
    pub fn hash(&self) -> InfoHash {
        self.hash
    }

    /// The info dictionary's exact bytes.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The info dictionary's exact bytes.
    pub fn into_raw(self) -> Box<[u8]> {
        self.raw
    }

    /// Whether the key is a truncated SHA-256, so the torrent is v2 or hybrid (BEP 52).
    pub fn is_v2_key(&self) -> bool {
        self.is_v2_key
    }

    /// The whole SHA-256: the v2 infohash, and what tells SHA-1 collisions apart (H30).
    pub fn sha256(&self) -> [u8; 32] {
        #[cfg(test)]
        crate::base::work::note(self.raw.len());
        Sha256::digest(&self.raw).into()
    }
}

/// Verified metadata, read: what one exchange brings home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The exact bytes.
    pub metadata: Metadata,
    /// What they say, or why they are no usable info dictionary (M15).
    pub info: Result<Info, InfoError>,
}

impl Fetched {
    /// Reads metadata once, here: so whoever takes the outcome moves megabytes without a look at
    /// them.
    pub(super) fn read(metadata: Metadata) -> Self {
        let info = Info::parse(metadata.raw());
        Self { metadata, info }
    }

    /// Bytes of metadata and name that this holds: what can be large about it.
    pub fn bytes_held(&self) -> usize {
        self.metadata.raw().len() + self.info.as_ref().map_or(0, |info| info.name.capacity())
    }
}

/// Shows key and size.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({}, {} B)", self.hash, self.raw.len())
    }
}
