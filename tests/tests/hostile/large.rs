//! The largest metadata that the built `crawl` takes, made to be as much work as it can be: all of
//! it verified, since its infohash is right. The crawl goes on.

use std::fs;
use std::sync::mpsc;
use std::thread;

use estudely_core::InfoHash;
use estudely_core::info::display_name;
use estudely_core::limits::{INFO_DEPTH, INFO_TOKENS, METADATA_MAX};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

use crate::nodes::{Exposed, Site};
use crate::peers::{self, Manner};
use crate::program::crawl;
use crate::replay::{Speech, serve_with};
use crate::{honest_info, host, watched};

/// Far more than it needs.
const SECONDS: u64 = 45;

/// Most resident memory, in KiB. Of the longest name, which is 32 MiB, there is a copy, and its row
/// with 3 bytes for each byte, in a buffer that doubles; other torrents of that size may come then.
const RESIDENT_MAX: u64 = 512 * 1_024;

/// Where this suite's peers begin among all: beyond those of the corpora.
const FIRST_PEER: usize = 1_000;

/// A torrent that is a burden.
struct Burden {
    what: &'static str,
    info: Vec<u8>,
    /// Name and number of files; `None` for what is refused, although verified.
    row: Option<(Vec<u8>, u64)>,
}

impl Burden {
    fn all() -> Vec<Self> {
        let readable = |what, info, files| Self { what, info, row: Some((b"n".to_vec(), files)) };
        let refused = |what, info| Self { what, info, row: None };
        // But for those around the list.
        let few = INFO_TOKENS as usize - 40;
        let (wide, leaves) = tree(6 << 20, 1);
        let (deep, buried) = tree(6 << 20, INFO_DEPTH - 4);
        vec![
            readable("a tree whose one directory has a name of 3 MiB", wide, leaves),
            readable("a tree at the end of 96 directories", deep, buried),
            named("a name of 32 MiB", b'a'),
            named("a name of 32 MiB that is no text", 0xff),
            readable("as many tokens as are read", with_extra(list(b"i1e", few)), 1),
            refused("10 million tokens", with_extra(list(b"0:", 10_000_000))),
            readable("250,000 files", files(250_000), 250_000),
            readable("lists as deep as are read", with_extra(nested(INFO_DEPTH - 1)), 1),
            refused("lists too deep", with_extra(nested(METADATA_MAX / 2 - 100))),
        ]
    }

    fn infohash(&self) -> [u8; 20] {
        Sha1::digest(&self.info).into()
    }
}

/// A v1 dictionary of one file, up to its name's value.
const HEAD: &[u8] = b"d6:lengthi7e4:name";
/// And from there on.
const TAIL: &[u8] = b"12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa";

/// One file with the longest possible name, all of this byte.
fn named(what: &'static str, byte: u8) -> Burden {
    let length = METADATA_MAX - HEAD.len() - TAIL.len() - 10;
    let name = vec![byte; length];
    let info = [HEAD, format!("{length}:").as_bytes(), &name, TAIL, b"e"].concat();
    assert!(info.len() <= METADATA_MAX);
    Burden { what, info, row: Some((name, 1)) }
}

/// One file, and a key that nobody knows with this value.
fn with_extra(value: Vec<u8>) -> Vec<u8> {
    [HEAD, b"1:n", TAIL, b"1:x", &value, b"e"].concat()
}

fn list(item: &[u8], count: usize) -> Vec<u8> {
    [b"l", &item.repeat(count)[..], b"e"].concat()
}

fn nested(depth: usize) -> Vec<u8> {
    [b"l".repeat(depth), b"e".repeat(depth)].concat()
}

/// A list of so many files.
fn files(count: usize) -> Vec<u8> {
    let files = list(b"d6:lengthi1e4:pathl1:fee", count);
    [b"d5:files", &files[..], b"4:name1:n", TAIL, b"e"].concat()
}

/// `len` bytes of file tree, half of them names of directories in each other, the rest empty files
/// in the innermost; and how many those are.
fn tree(len: usize, depth: usize) -> (Vec<u8>, u64) {
    let mut info = b"d9:file tree".to_vec();
    let name = vec![b'a'; len / 2 / depth];
    for _ in 0..depth {
        info.extend(format!("d{}:", name.len()).bytes().chain(name.iter().copied()));
    }
    info.push(b'd');
    let mut count = 0;
    while info.len() < len {
        info.extend(format!("6:{count:06x}d0:d6:lengthi0eee").bytes());
        count += 1;
    }
    info.extend(b"e".repeat(depth + 1));
    info.extend_from_slice(b"12:meta versioni2e4:name1:n12:piece lengthi16384ee");
    (info, count)
}

#[test]
fn the_heaviest_metadata_leaves_the_crawl_bounded_and_a_later_torrent_is_found() {
    let burdens = Burden::all();
    let (tell, ended) = mpsc::channel();
    let serve = |(n, burden): (usize, &Burden)| {
        let (infohash, tell) = (burden.infohash(), tell.clone());
        let ended = move |end: bool| {
            if end {
                // Nobody waits any more once the test is over.
                let _ = tell.send(());
            }
        };
        let speech = Speech::Torrent(burden.info.clone());
        Exposed { infohash, peers: vec![serve_with(FIRST_PEER + n, infohash, speech, ended)] }
    };
    let exposed: Vec<_> = burdens.iter().enumerate().map(serve).collect();
    let good = honest_info();
    let honest: [u8; 20] = Sha1::digest(&good).into();
    let peers = vec![peers::serve(host(198), Manner::Honest, good)];
    let (first, late) = (Site::honest(197, 1), Site::honest(196, 1));
    let nodes = [first.addresses(), late.addresses()].concat();
    let _first = first.serve(&exposed);
    // The node that knows the honest torrent is there once all conversations have ended.
    let count = burdens.len();
    let late = thread::spawn(move || {
        assert_eq!(ended.iter().take(count).count(), count);
        late.serve(&[Exposed { infohash: honest, peers }])
    });

    let folder = TempDir::new().expect("a temporary folder");
    let mut command = crawl();
    // At home two of these would not fit beside each other, and come one after the other.
    command.args(["--profile", "server", "--progress", "never"]);
    command.args(["--out", "metadata.csv", "--allow-private"]);
    command.args(["--bind", &format!("{}:0", host(252))]);
    command.args(["--overall-timeout", &SECONDS.to_string()]);
    command.args(["--max-infohashes", &(burdens.len() + 1).to_string()]);
    command.args(nodes.iter().flat_map(|node| ["--bootstrap".to_owned(), node.to_string()]));
    let (run, resident) = watched(command, &folder);
    let run = run.expect_code(0);
    assert!(!run.stderr.contains("panicked"), "{run:#?}");
    assert!((1..RESIDENT_MAX).contains(&resident), "{resident} KiB");
    assert!(late.is_finished(), "each was fetched: {run:#?}");

    let table = fs::read(folder.path().join("metadata.csv")).expect("the output");
    let mut records: Vec<_> = csv::Reader::from_reader(&table[..])
        .into_records()
        .map(|record| record.expect("a CSV record in UTF-8"))
        .collect();
    let last = records.pop().expect("rows");
    assert_eq!((&last[0], &last[7]), (&*InfoHash(honest).to_string(), "True"), "{run:#?}");
    assert_eq!(records.len(), burdens.len());
    for burden in &burdens {
        let key = InfoHash(burden.infohash()).to_string();
        let record = records.iter().find(|record| record[0] == key).expect(burden.what);
        let Some((name, files)) = &burden.row else {
            assert_eq!(&record[7], "False", "{}", burden.what);
            continue;
        };
        assert_eq!((&record[7], &record[2]), ("True", &*files.to_string()), "{}", burden.what);
        assert!(record[1] == display_name(name), "{}", burden.what);
    }
}
