//! Why an attempt on a peer ended without metadata. One closed list, used alike by the state
//! machines, the counters, log lines and outputs.

use std::fmt;

/// Declares the faults once: variant, stable word, explanation.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident => $word:literal,)*) => {
        /// How a peer, or the way to it, failed us. More may follow: every one has a
        /// [`word`](Self::word).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum PeerFault {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl PeerFault {
            /// Every fault, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// How many faults there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The word that outputs and logs use.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

faults! {
    /// The connection was refused.
    Refused => "refused",
    /// No route, or the network said it is unreachable.
    Unreachable => "unreachable",
    /// The connection was not accepted in time.
    ConnectTimeout => "connect-timeout",
    /// We ran out of descriptors, ports or buffers: not the peer's fault, costs it nothing.
    Pressure => "pressure",
    /// It gave up its place to others that waited for one: it has another turn.
    Yielded => "yielded",
    /// The run ended first: not the peer's fault.
    Aborted => "aborted",
    /// Closed while keys were exchanged; perhaps it takes no encryption.
    ClosedExchangingKeys => "closed-exchanging-keys",
    /// Its public key makes a secret that everybody knows.
    BadKey => "bad-key",
    /// Its answer to our key has no verification constant where one must be.
    NoVc => "no-vc",
    /// Selects a way to go on that it was not offered.
    BadSelect => "bad-select",
    /// Announces a padding longer than allowed.
    BadPad => "bad-pad",
    /// Closed before its handshake was complete; perhaps it wants encryption.
    ClosedEarly => "closed-early",
    /// No complete handshake in time, the exchange of keys before it included.
    HandshakeTimeout => "handshake-timeout",
    /// Not the BitTorrent protocol, or encrypted.
    NotBitTorrent => "not-bittorrent",
    /// Answered for another infohash.
    WrongInfoHash => "wrong-infohash",
    /// It is ourselves.
    OwnConnection => "own-connection",
    /// Speaks no extension protocol (BEP 10).
    NoExtensions => "no-extensions",
    /// No extension handshake in time.
    ExtensionTimeout => "extension-timeout",
    /// Does not speak ut_metadata (BEP 9).
    NoMetadataExtension => "no-ut-metadata",
    /// Speaks it, but has no metadata itself.
    NoMetadata => "no-metadata",
    /// Names a size outside the accepted range.
    BadSize => "bad-size",
    /// Changes its mind about the size.
    SizeChanged => "size-changed",
    /// Rejected a request.
    Rejected => "rejected",
    /// A piece of the wrong length.
    BadPiece => "bad-piece",
    /// Too many messages that nobody asked for.
    Unwanted => "unwanted",
    /// A message longer than allowed, or not decodable where it must be.
    BadMessage => "bad-message",
    /// Closed while pieces were due.
    ClosedLate => "closed-late",
    /// Pieces did not arrive in time.
    MetadataTimeout => "metadata-timeout",
    /// The whole did not hash to the infohash.
    BadHash => "bad-hash",
}

impl PeerFault {
    /// Whether a peer that takes connections over another transport looks like this.
    pub const fn may_be_transport(self) -> bool {
        matches!(self, Self::Refused | Self::ConnectTimeout)
    }

    /// Whether a peer that takes only encrypted connections looks like this to one in the clear, or
    /// one that takes none to an encrypted one (M13); before it said anything else.
    pub const fn may_be_encryption(self) -> bool {
        matches!(
            self,
            Self::ClosedExchangingKeys
                | Self::BadKey
                | Self::NoVc
                | Self::BadSelect
                | Self::BadPad
                | Self::ClosedEarly
                | Self::HandshakeTimeout
                | Self::NotBitTorrent
        )
    }

    /// Whether a network that is gone looks like this.
    pub const fn may_be_outage(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::ConnectTimeout
                | Self::ClosedExchangingKeys
                | Self::ClosedEarly
                | Self::HandshakeTimeout
                | Self::ExtensionTimeout
                | Self::ClosedLate
                | Self::MetadataTimeout
        )
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
