//! Who lives at an address: nodes and peers by kind.

use std::net::SocketAddr;

/// What lives at a node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// No node.
    Dead,
    /// A node with BEP 51.
    Sampler,
    /// Does not answer sample_infohashes at all.
    SampleSilent,
    /// Answers it with error 204.
    SampleUnknown,
    /// Answers it as find_node.
    SampleAsFindNode,
}

/// What a dialler meets at a peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Serves the metadata.
    Live,
    /// Refuses the connection.
    Refuses,
    /// Accepts the connection and stays silent.
    Silent,
    /// Never completes the connection.
    Hangs,
}

/// How connections to a peer must begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// In the clear.
    Clear,
    /// With an exchange of keys, behind which all is in the clear.
    Keys,
    /// With an exchange of keys, and RC4 to the end.
    Rc4,
}

impl PeerState {
    /// The word in the truth file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Refuses => "refuses",
            Self::Silent => "silent",
            Self::Hangs => "hangs",
        }
    }
}

/// One peer of one torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// The peer's number in the world.
    pub number: u32,
    /// The torrent it has.
    pub torrent: u32,
    /// How it behaves.
    pub state: PeerState,
    /// Where it is.
    pub addr: SocketAddr,
}

/// Who owns an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resident {
    /// The node of this number.
    Node(u32),
    /// The peer of this number.
    Peer(u32),
    /// The peer of this number that baiters name for the keys they make up.
    Decoy(u32),
}
