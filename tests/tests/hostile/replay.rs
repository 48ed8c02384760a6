//! The fuzz corpora on the wire: nodes that answer with the inputs of `krpc` (`replayer.rs`), peers that say those
//! of `exchange`, and torrents whose info dictionaries are those of `metainfo`. The crawl goes on,
//! and what it verifies is true.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use estudely_core::InfoHash;
use estudely_core::info::{Info, display_name};
use estudely_sim::swarm::Swarm;
use estudely_tests::fuzz::peer_stream;
use sha1::{Digest, Sha1};
use tempfile::TempDir;

use crate::nodes::{Exposed, Site};
use crate::peers::{self, Manner, extended};
use crate::program::{Run, crawl};
use crate::replayer::{self, Recorded};
use crate::{honest_info, host, watched};

/// How long the crawl may take.
const SECONDS: u64 = 30;

/// When the node that knows the honest torrent wakes up, in seconds: all of the others were met by
/// then.
const LATE: u32 = 12;

/// Most resident memory, in KiB. Conversations may offer metadata of 32 MiB; they never send it.
const RESIDENT_MAX: u64 = 100 * 1_024;

/// Infohashes that one node names, and nodes that answer with recorded datagrams.
const EXPOSED_PER_NODE: usize = 16;
const REPLAYING: usize = 16;

/// Peers in one /24: fewer than may be dialled there in a minute.
const PEERS_PER_NET: usize = 20;

/// Pieces of metadata (BEP 9).
const PIECE_LEN: usize = 16 * 1_024;

/// The inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(folder).expect("a corpus").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a readable file")).collect()
}

/// Addresses for peers, in many networks, apart from those of other suites and runs.
fn peer_host(n: usize) -> Ipv4Addr {
    let id = std::process::id() as usize;
    let net = n / PEERS_PER_NET;
    Ipv4Addr::new(
        127,
        224 + (id % 16) as u8 + (net / 256) as u8,
        net as u8,
        (1 + n % PEERS_PER_NET) as u8,
    )
}

/// What a peer says after the crawler's handshake.
pub(crate) enum Speech {
    /// A stream, then the end or silence.
    Stream(Vec<u8>),
    /// Handshake, offer, and each piece as asked.
    Torrent(Vec<u8>),
}

/// A peer at an address of its own that counts who comes.
fn serve(n: usize, hash: [u8; 20], speech: Speech, met: Arc<AtomicUsize>) -> SocketAddr {
    serve_with(n, hash, speech, move |end| {
        if !end {
            met.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// A peer at an address of its own that tells of the first conversation: `false` at its beginning,
/// `true` at its end.
pub(crate) fn serve_with(
    n: usize,
    hash: [u8; 20],
    speech: Speech,
    first: impl Fn(bool) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((peer_host(n), 0)).expect("a socket on loopback");
    let own = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for (visit, stream) in listener.incoming().flatten().enumerate() {
            if visit == 0 {
                first(false);
            }
            // It ends with an error when the crawler hangs up, as it should.
            let _ = converse(stream, n, hash, &speech);
            if visit == 0 {
                first(true);
            }
        }
    });
    own
}

fn converse(mut stream: TcpStream, n: usize, hash: [u8; 20], speech: &Speech) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(12)))?;
    stream.read_exact(&mut [0; 68])?;
    let info = match speech {
        Speech::Stream(bytes) => {
            stream.write_all(bytes)?;
            // Every other one hangs up; the others wait until the crawler does.
            return if n.is_multiple_of(2) {
                Ok(())
            } else {
                io::copy(&mut stream, &mut io::sink()).map(|_| ())
            };
        }
        Speech::Torrent(info) => info,
    };
    let mut handshake =
        *b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x01????????????????????-XX0000-abcdefghijkl";
    handshake[28..48].copy_from_slice(&hash);
    stream.write_all(&handshake)?;
    let offer = format!("d1:md11:ut_metadatai3ee13:metadata_sizei{}ee", info.len());
    stream.write_all(&extended(0, offer.as_bytes()))?;
    for (piece, bytes) in info.chunks(PIECE_LEN).enumerate() {
        wait_for_request(&mut stream)?;
        let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{}ee", info.len());
        stream.write_all(&extended(2, &[head.as_bytes(), bytes].concat()))?;
    }
    io::copy(&mut stream, &mut io::sink()).map(|_| ())
}

fn wait_for_request(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame)?;
        if frame.starts_with(&[20, 3]) {
            return Ok(());
        }
    }
}

struct Replayed {
    _swarms: [Swarm; 2],
    bootstrap: Vec<SocketAddr>,
    datagrams: Arc<Recorded>,
    peers_met: Arc<AtomicUsize>,
    conversations: usize,
    /// Info dictionaries that can be fetched, by infohash.
    torrents: BTreeMap<String, Vec<u8>>,
}

impl Replayed {
    fn start() -> Self {
        let peers_met = Arc::new(AtomicUsize::new(0));
        let mut exposed = Vec::new();
        let mut torrents = BTreeMap::new();
        for (n, input) in corpus("exchange").into_iter().enumerate() {
            let infohash: [u8; 20] = Sha1::digest([&input[..], b"exchange"].concat()).into();
            let speech = Speech::Stream(peer_stream(&input, InfoHash(infohash)));
            let peers = vec![serve(n, infohash, speech, peers_met.clone())];
            exposed.push(Exposed { infohash, peers });
        }
        let conversations = exposed.len();
        let dictionaries = corpus("metainfo").into_iter().filter(|info| info.len() >= 10);
        for (n, info) in dictionaries.enumerate() {
            let infohash: [u8; 20] = Sha1::digest(&info).into();
            let speech = Speech::Torrent(info.clone());
            let peers = vec![serve(conversations + n, infohash, speech, Arc::default())];
            exposed.push(Exposed { infohash, peers });
            torrents.insert(InfoHash(infohash).to_string(), info);
        }
        let datagrams = corpus("krpc");
        let datagrams = Arc::new(Recorded { datagrams, sent: AtomicUsize::new(0) });
        let replaying = (0..REPLAYING).map(|n| replayer::serve(host(10 + n), datagrams.clone()));
        let honest = Site::honest(10 + REPLAYING, exposed.len().div_ceil(EXPOSED_PER_NODE));
        let late = Site::late(190, LATE);
        let bootstrap = replaying.chain(honest.addresses()).chain(late.addresses()).collect();

        let good = honest_info();
        let infohash: [u8; 20] = Sha1::digest(&good).into();
        torrents.insert(InfoHash(infohash).to_string(), good.clone());
        let peers = vec![peers::serve(host(199), Manner::Honest, good)];
        let swarms = [honest.serve(&exposed), late.serve(&[Exposed { infohash, peers }])];
        Self { _swarms: swarms, bootstrap, datagrams, peers_met, conversations, torrents }
    }

    /// Crawls it; the run, and the most memory that it had, in KiB.
    fn crawl(&self, folder: &TempDir) -> (Run, u64) {
        let mut command = crawl();
        command.args(["--out", "metadata.csv", "--allow-private"]);
        command.args(["--bind", &format!("{}:0", host(251))]);
        command.args(["--overall-timeout", &SECONDS.to_string()]);
        for node in &self.bootstrap {
            command.args(["--bootstrap", &node.to_string()]);
        }
        watched(command, folder)
    }
}

#[test]
fn every_corpus_on_the_wire_leaves_the_crawl_alive_bounded_and_right() {
    let world = Replayed::start();
    let folder = TempDir::new().expect("a temporary folder");
    let (run, resident) = world.crawl(&folder);
    let run = run.expect_code(0);
    assert!(!run.stderr.contains("panicked"), "{run:#?}");
    assert!((1..RESIDENT_MAX).contains(&resident), "{resident} KiB");

    let sent = world.datagrams.sent.load(Ordering::Relaxed);
    assert!(sent >= world.datagrams.datagrams.len(), "{sent} datagrams only");
    let met = world.peers_met.load(Ordering::Relaxed);
    assert_eq!(met, world.conversations, "every conversation was begun: {run:#?}");

    let path = folder.path().join("metadata.csv");
    let mut reader = csv::Reader::from_path(path).expect("the output");
    let mut verified = BTreeMap::new();
    for record in reader.records() {
        let record = record.expect("a CSV record");
        if &record[7] == "True" {
            verified.insert(record[0].to_owned(), record);
        }
    }
    for (key, record) in &verified {
        let info = Info::parse(&world.torrents[key]).expect("what has a row can be read");
        assert_eq!(&record[1], display_name(&info.name));
        let counts = [info.file_count, info.total_bytes, info.piece_length].map(|n| n.to_string());
        assert!(record.iter().skip(2).take(3).eq(counts.iter().map(String::as_str)));
    }
    let readable = world.torrents.iter().filter(|(_, info)| Info::parse(info).is_ok());
    let missed: Vec<&String> =
        readable.map(|(key, _)| key).filter(|key| !verified.contains_key(*key)).collect();
    assert_eq!(missed, Vec::<&String>::new(), "of the readable torrents, the late one included");
}
