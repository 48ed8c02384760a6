//! What a hostile or odd node and peer can do, by name. The actors, nodes and peers,
//! play them; scenarios choose among them.

use std::fmt;
use std::str::FromStr;

/// Declares an enum of vices and the set of them.
macro_rules! vices {
    ($(#[doc = $doc:literal])+ $name:ident, $set:ident { $($(#[doc = $vdoc:literal])+ $vice:ident = $word:literal,)* }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $vdoc])+ $vice,)* }

        impl $name {
            /// Every one, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$vice),*];

            /// Its name in scenarios.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$vice => $word),* }
            }
        }

        /// Some of them. Prints as names joined by `+`, as `all`, or as `none`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $set(u64);

        impl $set {
            /// Every one.
            pub const ALL: Self = Self((1 << $name::ALL.len()) - 1);
            /// None.
            pub const NONE: Self = Self(0);

            /// Those given.
            pub fn of(vices: &[$name]) -> Self {
                Self(vices.iter().fold(0, |bits, vice| bits | 1 << *vice as u8))
            }

            /// Whether `vice` is among them.
            pub const fn contains(self, vice: $name) -> bool {
                self.0 >> vice as u8 & 1 == 1
            }

            /// Without `vice`.
            #[must_use]
            pub const fn without(self, vice: $name) -> Self {
                Self(self.0 & !(1 << vice as u8))
            }

            /// In order of declaration.
            pub fn iter(self) -> impl Iterator<Item = $name> + Clone {
                $name::ALL.iter().copied().filter(move |vice| self.contains(*vice))
            }
        }

        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    Self::ALL => f.write_str("all"),
                    Self::NONE => f.write_str("none"),
                    some => {
                        let words: Vec<_> = some.iter().map($name::word).collect();
                        f.write_str(&words.join("+"))
                    }
                }
            }
        }

        impl FromStr for $set {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    "all" => return Ok(Self::ALL),
                    "none" => return Ok(Self::NONE),
                    _ => {}
                }
                let vice = |word: &str| {
                    let known = $name::ALL.iter().copied().find(|vice| vice.word() == word);
                    known.ok_or_else(|| format!("no vice is called {word}"))
                };
                text.split('+').map(vice).collect::<Result<Vec<_>, _>>().map(|all| Self::of(&all))
            }
        }
    };
}

vices! {
    /// What a node does wrong in its answers (items of the catalogue in parentheses).
    NodeVice, NodeVices {
        /// Answers under another transaction id, an empty one or none (D6, D7, H6).
        WrongTransaction = "wrong-transaction",
        /// Answers from another address (H6).
        OtherAddress = "other-address",
        /// Answers from another port (D8).
        OtherPort = "other-port",
        /// Has another id in each answer (D12, H15).
        ChangingId = "changing-id",
        /// Answers with the asker's own id (H16).
        Reflector = "reflector",
        /// Names contacts that do not exist, new ones without end (H17).
        InventedNodes = "invented-nodes",
        /// Names itself and the asker (D17).
        SelfNodes = "self-nodes",
        /// Names contacts at addresses that no host can own (H11).
        MartianNodes = "martian-nodes",
        /// Names contacts that all share one address (H13).
        SybilNodes = "sybil-nodes",
        /// `nodes` whose length is no multiple of an entry (D1).
        RaggedNodes = "ragged-nodes",
        /// `samples` whose length is no multiple of 20 (51.5).
        RaggedSamples = "ragged-samples",
        /// Samples made up of random infohashes (H19).
        PoisonedSamples = "poisoned-samples",
        /// More samples than the specification's servers send (H19).
        ManySamples = "many-samples",
        /// An interval that is negative, huge, a string or missing (D13, 51.5).
        BadInterval = "bad-interval",
        /// An interval of zero (H20).
        ZeroInterval = "zero-interval",
        /// `num` that is negative or absurd (H20).
        AbsurdNum = "absurd-num",
        /// Hundreds of peers that do not exist (H21).
        FloodedValues = "flooded-values",
        /// One long string of peers, or entries of odd lengths (D2, D3).
        OddValues = "odd-values",
        /// Offers nodes as peers (D18).
        NodesAsValues = "nodes-as-values",
        /// Nested lists far beyond the depth limit (H1).
        DeepBencode = "deep-bencode",
        /// Answers that end in the middle (H3).
        TruncatedBencode = "truncated-bencode",
        /// Hundreds of tiny tokens (H2).
        TokenFlood = "token-flood",
        /// Lengths and integers beyond any buffer and range (H3, H4).
        AbsurdLengths = "absurd-lengths",
        /// Many answers for each query, most under invented transactions (H7).
        ReplyFlood = "reply-flood",
        /// Many queries for each one asked (H9).
        QueryFlood = "query-flood",
        /// Answers only after many seconds: some while that is still read, some not (5.13).
        Slow = "slow",
        /// Answers everything with an error (201 to 204).
        Refuser = "refuser",
        /// Errors that are strings, one element, or missing (D5).
        OddErrors = "odd-errors",
        /// An answer whose `id` is missing or has another length (D11).
        OddId = "odd-id",
        /// `y` missing or unknown (D9).
        OddKind = "odd-kind",
        /// Integers where strings are due, and the reverse (D10).
        WrongTypes = "wrong-types",
        /// Unsorted and repeated keys, leading zeros, bytes after the end: harmless (D14, D15).
        Untidy = "untidy",
        /// Legacy and unknown keys, `ip` of odd lengths: harmless (D16, D20).
        Legacy = "legacy",
        /// Answers at first, then never again (H18).
        FallsSilent = "falls-silent",
        /// Names as many contacts that do not exist as an answer holds, all over the keyspace, and
        /// says nothing else (H17).
        FloodedNodes = "flooded-nodes",
        /// Asks under the asker's own transaction instead of answering (H9).
        AsksBack = "asks-back",
        /// Answers as long as UDP carries (H5).
        HugeDatagrams = "huge-datagrams",
    }
}

vices! {
    /// What a peer does wrong on a connection (items of the catalogue in parentheses).
    PeerVice, PeerVices {
        /// Resets the connection at some point.
        Reset = "reset",
        /// Closes at some point.
        EarlyEnd = "early-end",
        /// Has no extension bit (10.1).
        NoExtensions = "no-extensions",
        /// Answers with another infohash (M14).
        OtherInfohash = "other-infohash",
        /// Answers with the dialler's own peer id (M14).
        OwnPeerId = "own-peer-id",
        /// Speaks another protocol (M13).
        NotBittorrent = "not-bittorrent",
        /// `metadata_size` absent or zero, though it serves: harmless (M1).
        NoSize = "no-size",
        /// `metadata_size` negative, tiny or huge (H23).
        AbsurdSize = "absurd-size",
        /// A wrong but acceptable size.
        WrongSize = "wrong-size",
        /// A second extension handshake with another size (M11).
        ChangingSize = "changing-size",
        /// `total_size` that differs from `metadata_size` (M5).
        OtherTotalSize = "other-total-size",
        /// Data without `total_size`: harmless (M4).
        NoTotalSize = "no-total-size",
        /// A second extension handshake with another id of `ut_metadata`: harmless (M11).
        RemappedId = "remapped-id",
        /// `ut_metadata` absent, 0, negative, above 255 or a string (M2).
        BadMetadataId = "bad-metadata-id",
        /// An extension handshake that is no dictionary (10.3).
        GarbledExtensions = "garbled-extensions",
        /// Rejects every request (M9).
        Rejects = "rejects",
        /// Rejects some requests (M9).
        RejectsSome = "rejects-some",
        /// Sends pieces without a request, repeated ones, and impossible indices (M8).
        StrayPieces = "stray-pieces",
        /// A piece shorter than due (M7).
        ShortPiece = "short-piece",
        /// A piece longer than due (M7).
        LongPiece = "long-piece",
        /// Data that does not hash to the infohash (H29).
        BadHash = "bad-hash",
        /// Everything one byte per second (H26).
        Drip = "drip",
        /// Bitfield, have-all, unchoke, PORT and unknown messages first: harmless (M3).
        Chatter = "chatter",
        /// A frame that claims to be huge (H28).
        HugeFrame = "huge-frame",
        /// Requests metadata from the dialler again and again (M10).
        RequestStorm = "request-storm",
        /// Unknown and unannounced messages without end (H27, M12).
        MessageStorm = "message-storm",
        /// Nothing after the base handshake (H26).
        SilentAfterHandshake = "silent-after-handshake",
        /// Nothing after the extension handshake (H25).
        SilentAfterOffer = "silent-after-offer",
        /// Answers one request at a time and drops the others, as rtorrent may.
        OneAtATime = "one-at-a-time",
        /// Dictionary keys unsorted, extra keys, `total_size` last: harmless (M6).
        OddKeys = "odd-keys",
    }
}

vices! {
    /// What a peer does wrong in packets of uTP (H32).
    UtpVice, UtpVices {
        /// Acknowledges what was never sent, and has passed over what was: harmless once that is
        /// sent again.
        AcksUnsent = "acks-unsent",
        /// Answers each packet with wishes to connect: harmless.
        SynFlood = "syn-flood",
        /// Resets from an endpoint that has no part in the connection, and under ids of no
        /// connection: harmless.
        StrangerReset = "stranger-reset",
        /// Data with numbers far from any window: harmless.
        FarSeq = "far-seq",
        /// Has no room, ever.
        ClosedWindow = "closed-window",
        /// Ends the stream before its time, and goes on.
        AfterFin = "after-fin",
        /// Claims in the longest mask to have all that was never sent.
        LongMask = "long-mask",
    }
}

vices! {
    /// What a baiter's keys lead to: a node that draws all work to itself by samples that it makes
    /// up.
    Bait, Baits {
        /// Peers that complete both handshakes, offer much, and send a piece every 9 s.
        Trickle = "trickle",
        /// Peers at addresses that refuse or never answer.
        Dead = "dead",
        /// No peer at all.
        Empty = "empty",
    }
}

impl PeerVice {
    /// Whether a patient fetcher still gets the metadata.
    pub const fn serves(self) -> bool {
        matches!(
            self,
            Self::NoSize
                | Self::NoTotalSize
                | Self::RemappedId
                | Self::Chatter
                | Self::OneAtATime
                | Self::OddKeys
        )
    }
}

impl UtpVice {
    /// Whether a patient fetcher still gets what the peer serves.
    pub const fn serves(self) -> bool {
        matches!(self, Self::AcksUnsent | Self::SynFlood | Self::StrangerReset | Self::FarSeq)
    }
}

impl NodeVice {
    /// Whether a crawler still gets the node's samples, peers and contacts.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Untidy | Self::Legacy)
    }
}
