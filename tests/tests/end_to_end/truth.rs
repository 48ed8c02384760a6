//! What exists in a swarm, from the truth file of `tests/clients/swarm.py` or of `swarm`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

/// One infohash as its DHT knows it.
#[derive(Clone, Debug)]
pub(crate) struct Torrent {
    /// What is odd about it, for people.
    pub(crate) label: String,
    /// As the CSV shows it.
    pub(crate) name: String,
    /// `file_count`, `total_bytes`, `piece_length`.
    pub(crate) sizes: [u64; 3],
    /// Whether some node has it in its sample.
    pub(crate) exposed: bool,
    /// SHA-256 of the info dictionary, where the file says it.
    pub(crate) sha256: Option<String>,
    /// Whether it has a v2 infohash.
    pub(crate) is_v2: bool,
    /// Who announced it.
    pub(crate) peers: BTreeMap<SocketAddr, Peer>,
}

/// One peer of a torrent.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Whether it serves the metadata, over whatever it takes.
    pub(crate) live: bool,
    /// Which program it is; empty in a simulated swarm.
    pub(crate) client: String,
}

impl Torrent {
    /// Whether this peer serves it.
    pub(crate) fn serves(&self, peer: SocketAddr) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.live)
    }

    /// A live peer, of that client.
    pub(crate) fn live_peer(&self, client: &str) -> Option<SocketAddr> {
        let fits = |peer: &Peer| peer.live && peer.client == client;
        self.peers.iter().find(|(_, peer)| fits(peer)).map(|(addr, _)| *addr)
    }
}

/// Everything in a swarm, by infohash.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) torrents: BTreeMap<String, Torrent>,
}

impl Truth {
    /// Reads a truth file: one JSON object a line.
    pub(crate) fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).expect("a truth file"))
    }

    /// Parses the text of a truth file.
    pub(crate) fn parse(text: &str) -> Self {
        Self { torrents: text.lines().map(parse).collect() }
    }

    /// What a crawl owes: in some node's sample, and served by somebody.
    pub(crate) fn due(&self) -> BTreeSet<String> {
        self.keys(|torrent| torrent.exposed && torrent.peers.values().any(|peer| peer.live))
    }

    /// The infohashes of the torrents that fit.
    pub(crate) fn keys(&self, fits: impl Fn(&Torrent) -> bool) -> BTreeSet<String> {
        self.torrents
            .iter()
            .filter(|(_, torrent)| fits(torrent))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The torrent with this label, and one of its infohashes.
    pub(crate) fn labelled(&self, label: &str) -> (&str, &Torrent) {
        let found = self.torrents.iter().find(|(_, torrent)| torrent.label == label);
        let (key, torrent) = found.unwrap_or_else(|| panic!("no torrent {label:?}"));
        (key, torrent)
    }
}

fn parse(line: &str) -> (String, Torrent) {
    let line: Value = serde_json::from_str(line).expect("a JSON object a line");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |key: &str| line[key].as_u64().expect(key);
    let peer = |peer: &Value| {
        let addr = text(&peer["addr"]).parse().expect("an endpoint");
        (addr, Peer { live: peer["state"] == "live", client: text(&peer["client"]) })
    };
    let torrent = Torrent {
        label: text(&line["label"]),
        name: text(&line["name"]),
        sizes: [number("file_count"), number("total_bytes"), number("piece_length")],
        exposed: line["exposed"].as_bool().expect("exposed"),
        sha256: line["sha256"].as_str().map(str::to_owned),
        is_v2: matches!(line["version"].as_str(), Some("v2" | "hybrid")),
        peers: line["peers"].as_array().expect("peers").iter().map(peer).collect(),
    };
    (text(&line["infohash"]), torrent)
}
