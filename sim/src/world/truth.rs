//! What a perfect crawl could find.
//!
//! One JSON object per torrent and line, so that tests and benchmarks in any language can read it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;

use estudely_core::{InfoHash, Instant};
use serde_json::{Value, json};

use crate::world::dht::{Door, PeerState, World};

/// The interval of samples to which the truth refers: the first.
const EPOCH: u64 = 0;
/// The word for peers that take encrypted connections only.
const MSE: &str = "mse";

/// Everything there is to find, by infohash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TruthFile {
    torrents: BTreeMap<InfoHash, Expected>,
}

/// What is true of one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The name as the CSV shows it.
    pub name: String,
    /// Files, pad files left out.
    pub file_count: u64,
    /// Bytes of those files.
    pub total_bytes: u64,
    /// Bytes of a piece of payload.
    pub piece_length: u64,
    /// Whether some node shows it in its first sample.
    pub exposed: bool,
    /// Its peers, and whether each can serve.
    pub peers: BTreeMap<SocketAddr, bool>,
    /// Whether those that can serve take encrypted connections only.
    pub is_sealed: bool,
}

impl Expected {
    /// Whether any peer can serve it.
    pub fn is_live(&self) -> bool {
        self.peers.values().any(|&live| live)
    }

    /// Whether a crawl that samples every node must have it.
    pub fn is_due(&self) -> bool {
        self.exposed && self.is_live()
    }
}

/// Why a truth file cannot be read: the line, and what is wrong with it.
#[derive(Debug)]
pub enum TruthError {
    /// The file itself.
    Io(io::Error),
    /// A line that is no such object.
    Line(usize),
}

impl fmt::Display for TruthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Line(number) => write!(f, "line {number} is no torrent of a truth file"),
        }
    }
}

impl std::error::Error for TruthError {}

impl From<io::Error> for TruthError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl TruthFile {
    /// The truth about a world.
    pub fn of(world: &World) -> Self {
        let shown = shown_by(world);
        let torrents = (0..world.torrent_count())
            .map(|number| {
                let made = world.torrent(number);
                let peers = world.peers_of(number).map(|peer| world.peer(peer));
                let expected = Expected {
                    name: made.facts.name,
                    file_count: made.facts.file_count,
                    total_bytes: made.facts.total_bytes,
                    piece_length: made.facts.piece_length,
                    exposed: !shown[number as usize].is_empty(),
                    peers: peers.map(|p| (p.addr, p.state == PeerState::Live)).collect(),
                    is_sealed: is_sealed(world, number),
                };
                (made.key, expected)
            })
            .collect();
        Self { torrents }
    }

    /// Reads what [`write()`] wrote.
    pub fn read(input: impl BufRead) -> Result<Self, TruthError> {
        let mut torrents = BTreeMap::new();
        for (line, number) in input.lines().zip(1..) {
            let (key, expected) = parse_line(&line?).ok_or(TruthError::Line(number))?;
            torrents.insert(key, expected);
        }
        Ok(Self { torrents })
    }

    /// All torrents in the order of their infohashes.
    pub fn iter(&self) -> impl Iterator<Item = (&InfoHash, &Expected)> {
        self.torrents.iter()
    }

    /// What is true of one torrent.
    pub fn get(&self, hash: &InfoHash) -> Option<&Expected> {
        self.torrents.get(hash)
    }

    /// How many torrents there are.
    pub fn len(&self) -> usize {
        self.torrents.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.torrents.is_empty()
    }
}

/// Which torrents are exposed in samples, and how many of those a peer can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Torrents that some node shows in its first sample.
    pub exposed: u64,
    /// Those among them with a live peer.
    pub due: u64,
}

/// Counts what is exposed without making a single torrent.
pub fn exposure(world: &World) -> Exposure {
    let shown = shown_by(world);
    let exposed = || (0..world.torrent_count()).filter(|&n| !shown[n as usize].is_empty());
    let is_live = |peer| world.peer(peer).state == PeerState::Live;
    let due = exposed().filter(|&n| world.peers_of(n).any(is_live)).count();
    Exposure { exposed: exposed().count() as u64, due: due as u64 }
}

/// Whether the live peers of a torrent, of which there are some, take encrypted connections only.
fn is_sealed(world: &World, torrent: u32) -> bool {
    let live = |peer: &u32| world.peer(*peer).state == PeerState::Live;
    let mut doors = world.peers_of(torrent).filter(live).map(|peer| world.peer_door(peer));
    doors.clone().next().is_some() && doors.all(|door| door != Door::Clear)
}

/// The word for what a peer takes.
const fn transport(door: Door) -> &'static str {
    match door {
        Door::Clear => "tcp",
        Door::Keys | Door::Rc4 => MSE,
    }
}

/// For each torrent, the nodes that show it in their first sample.
fn shown_by(world: &World) -> Vec<Vec<u32>> {
    let mut shown = vec![Vec::new(); world.torrent_count() as usize];
    for node in 0..world.node_count() {
        for torrent in world.samples(node, EPOCH) {
            shown[torrent as usize].push(node);
        }
    }
    shown
}

/// Writes the truth about `world`, one JSON object per torrent and line: `infohash`, `name`,
/// `file_count`, `total_bytes`, `piece_length`, `version`, `private`, `metadata_bytes`, `peers`
/// (`addr`, `state` and `transport`), `stored_by`, `exposed`, `exposed_by` (nodes by address).
pub fn write(world: &World, out: &mut impl Write) -> io::Result<()> {
    let shown = shown_by(world);
    let addr = |node: u32| world.contact(node).addr.to_string();
    for number in 0..world.torrent_count() {
        let made = world.torrent(number);
        let peers = world.peers_of(number).map(|peer| {
            let (peer, transport) = (world.peer(peer), transport(world.peer_door(peer)));
            let (addr, state) = (peer.addr.to_string(), peer.state.word());
            json!({ "addr": addr, "state": state, "transport": transport })
        });
        let nodes = &shown[number as usize];
        let line = json!({
            "infohash": made.key.to_string(),
            "name": made.facts.name,
            "file_count": made.facts.file_count,
            "total_bytes": made.facts.total_bytes,
            "piece_length": made.facts.piece_length,
            "version": made.facts.version.word(),
            "private": made.facts.private,
            "metadata_bytes": made.info.len(),
            "peers": peers.collect::<Vec<_>>(),
            "stored_by": world.holders(Instant::START, number).iter().map(addr).collect::<Vec<_>>(),
            "exposed": !nodes.is_empty(),
            "exposed_by": nodes.iter().copied().map(addr).collect::<Vec<_>>(),
        });
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn parse_line(line: &str) -> Option<(InfoHash, Expected)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let is_live = |peer: &Value| Some(peer["state"].as_str()? == PeerState::Live.word());
    let peers = line["peers"].as_array()?;
    let live = || peers.iter().filter(|peer| is_live(peer) == Some(true));
    let is_sealed = live().count() > 0 && live().all(|peer| peer["transport"] == MSE);
    let peers = peers.iter().map(|peer| {
        let addr = peer["addr"].as_str()?.parse().ok()?;
        Some((addr, is_live(peer)?))
    });
    let expected = Expected {
        name: line["name"].as_str()?.to_owned(),
        file_count: line["file_count"].as_u64()?,
        total_bytes: line["total_bytes"].as_u64()?,
        piece_length: line["piece_length"].as_u64()?,
        exposed: line["exposed"].as_bool()?,
        peers: peers.collect::<Option<_>>()?,
        is_sealed,
    };
    Some((InfoHash::from_hex(line["infohash"].as_str()?)?, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::dht::Plan;
    use crate::world::dht::tests::{plan, share};

    #[test]
    fn the_truth_file_reads_back_as_the_truth() {
        let sealed = Plan { sealed_peers: share(50), ..plan(40, 120) };
        let world = World::build(sealed).expect("world");
        let mut file = Vec::new();
        write(&world, &mut file).expect("written");
        let truth = TruthFile::of(&world);
        assert_eq!(TruthFile::read(&file[..]).expect("read"), truth);
        assert!(matches!(TruthFile::read(&b"{}\n"[..]), Err(TruthError::Line(1))));
        let sealed = truth.iter().filter(|(_, expected)| expected.is_sealed).count();
        assert!((10..110).contains(&sealed), "{sealed} torrents by encryption alone");
        let due = truth.iter().filter(|(_, expected)| expected.is_due()).count() as u64;
        let exposed = truth.iter().filter(|(_, expected)| expected.exposed).count() as u64;
        assert_eq!(exposure(&world), Exposure { exposed, due });
        assert!(due > 50 && due < exposed, "{due} of {exposed}");
    }
}
