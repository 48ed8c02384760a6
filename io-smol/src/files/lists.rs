//! The input of `crawl fetch`: a `peers.csv` or `metadata.csv` with or without header, a bare list
//! of infohashes or magnet links, or any mixture of them, from a file or standard input. Peers in
//! columns are orders of the user, those within magnet links are hearsay.
//!
//! Read line by line as the run takes them, so that a list of any length needs no memory. A line
//! that says nothing usable is named and skipped; it never ends the run.

mod line;
mod text;

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::Sender;
use estudely_core::limits::MAGNET_LEN_MAX;
use estudely_core::{AddressPolicy, Request, magnet};
use smol::future::FutureExt;
use smol::stream::{self, StreamExt};

use self::line::{Columns, Line};
use self::text::TextLines;
use super::requests::Requests;
use crate::text::printable;

/// Longest line read: twice what `magnet` accepts.
pub const LINE_BYTES_MAX: usize = 2 * MAGNET_LEN_MAX;
/// Most bad lines named one by one; the rest are counted.
pub const NAMED_MAX: u64 = 10;
/// Most peers gathered from neighbouring lines into one request.
pub const REQUEST_PEERS_MAX: usize = 100;
/// Requests read ahead of the run.
const AHEAD_MAX: usize = 256;

/// What was read so far, shared with the thread that reads.
#[derive(Clone, Debug, Default)]
pub struct LinesRead(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    good: u64,
    bad: u64,
    /// Lines of which a part was ignored.
    partly: u64,
    notes: Vec<String>,
}

impl LinesRead {
    /// Lines that named something to fetch.
    pub fn good(&self) -> u64 {
        self.with(|counts| counts.good)
    }

    /// Lines that were skipped.
    pub fn bad(&self) -> u64 {
        self.with(|counts| counts.bad)
    }

    /// Takes what a person should see and has not seen yet, a line each.
    pub fn take_notes(&self) -> Vec<String> {
        self.with(|counts| std::mem::take(&mut counts.notes))
    }

    /// The lines for the end, if lines were left unnamed.
    pub fn closing_notes(&self) -> Vec<String> {
        let (bad, partly) = self.with(|counts| (counts.bad, counts.partly));
        [(bad, "skipped"), (partly, "read in part")]
            .into_iter()
            .filter_map(|(n, what)| Some((n.checked_sub(NAMED_MAX).filter(|n| *n > 0)?, what)))
            .map(|(unnamed, what)| match unnamed {
                1 => format!("1 more line {what}"),
                n => format!("{n} more lines {what}"),
            })
            .collect()
    }

    fn take(&self, line: u64, ignored: &[magnet::Note]) {
        self.with(|counts| {
            counts.good += 1;
            counts.partly += u64::from(!ignored.is_empty());
            if counts.partly <= NAMED_MAX {
                counts.notes.extend(ignored.iter().map(|note| format!("line {line}: {note}")));
            }
        });
    }

    fn skip(&self, line: u64, text: &str, why: &str) {
        self.with(|counts| {
            counts.bad += 1;
            if counts.bad <= NAMED_MAX {
                counts.notes.push(format!("line {line} skipped: {}: {why}", printable(text)));
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Counts) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Opens the input and reads on in a thread until the first good line or the end; gives up when
/// `stop` is over first, and then returns what it says.
///
/// # Errors
/// One line: the input cannot be read, or no line of it is good.
pub fn open<T>(
    path: Option<&Path>,
    tally: &LinesRead,
    stop: impl Future<Output = T>,
) -> Result<Result<Requests, T>, String> {
    let name = path.map_or("standard input".to_owned(), |p| printable(&p.to_string_lossy()));
    let unreadable = |error: io::Error| {
        format!("{name}: cannot be read: {error}; name a file of lines, or - for stdin")
    };
    let (sender, receiver) = async_channel::bounded(AHEAD_MAX);
    let (failed, failure) = async_channel::bounded(1);
    let (path, shared) = (path.map(Path::to_owned), tally.clone());
    // Opening may wait too: for somebody to write into a named pipe.
    let reader = move || match input(path.as_deref()) {
        Ok(input) => forward(Lines::new(input, shared.clone()), &sender, &shared),
        Err(error) => drop(failed.try_send(error)),
    };
    let thread = std::thread::Builder::new().name("input".to_owned()).spawn(reader);
    thread.map_err(unreadable)?;
    let first = async { Ok(receiver.recv().await.ok()) };
    let stopped = async { Err(stop.await) };
    match async_io::block_on(first.or(stopped)) {
        Err(stopped) => Ok(Err(stopped)),
        Ok(Some(first)) => Ok(Ok(Requests::stream(stream::once(first).chain(receiver)))),
        Ok(None) => Err(match failure.try_recv() {
            Ok(error) => unreadable(error),
            Err(_) => format!(
                "{name}: no usable line; give infohash,peer_ip,peer_port, infohashes or magnets"
            ),
        }),
    }
}

/// The requests of an input that is at hand, as [`open`] would give them.
pub fn read(input: impl Read, tally: LinesRead) -> impl Iterator<Item = io::Result<Request>> {
    let mut lines = Lines::new(input, tally);
    std::iter::from_fn(move || lines.next_request().transpose())
}

fn input(path: Option<&Path>) -> io::Result<Box<dyn Read + Send>> {
    let Some(path) = path else { return Ok(Box::new(io::stdin())) };
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Ok(Box::new(file))
    }
}

/// The reading thread: ends with the input, or when nobody takes requests any more.
fn forward(mut lines: Lines<impl Read>, to: &Sender<Request>, tally: &LinesRead) {
    loop {
        match lines.next_request() {
            Ok(Some(request)) => {
                if to.send_blocking(request).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                let line = lines.input.number();
                tally.with(|counts| {
                    counts.notes.push(format!("input ends after line {line}: {error}"));
                });
                return;
            }
        }
    }
}

/// An input as requests.
struct Lines<R> {
    input: TextLines<R>,
    tally: LinesRead,
    /// What the last header said.
    columns: Option<Columns>,
    /// A good line that belongs to the next request.
    waiting: Option<Request>,
}

impl<R: Read> Lines<R> {
    fn new(input: R, tally: LinesRead) -> Self {
        Self { input: TextLines::new(input), tally, columns: None, waiting: None }
    }

    /// The next infohash with the peers that neighbouring lines name. Never waits for input while
    /// it has a whole line.
    fn next_request(&mut self) -> io::Result<Option<Request>> {
        let mut gathered = self.waiting.take();
        loop {
            if let Some(request) = &gathered {
                let peers = request.orders.len() + request.hearsay.len();
                if !self.input.has_more_at_hand() || peers >= REQUEST_PEERS_MAX {
                    return Ok(gathered);
                }
            }
            let Some(fits) = self.input.next()? else { return Ok(gathered) };
            let Some(line) = self.read(fits) else { continue };
            match &mut gathered {
                None => gathered = Some(line),
                Some(request) if request.hash == line.hash => {
                    add_new(&mut request.orders, line.orders);
                    add_new(&mut request.hearsay, line.hearsay);
                }
                Some(_) => {
                    self.waiting = Some(line);
                    return Ok(gathered);
                }
            }
        }
    }

    /// What the line just read names, if anything.
    fn read(&mut self, fits: bool) -> Option<Request> {
        let number = self.input.number();
        if !fits {
            self.tally.skip(number, "", "longer than any magnet link");
            return None;
        }
        let text = String::from_utf8_lossy(self.input.text());
        match line::parse(&text, self.columns.as_ref()) {
            Line::Nothing => None,
            // Also further down: lists of several runs are put together with cat.
            Line::Header(columns) => {
                self.columns = Some(columns);
                None
            }
            Line::Good(request, notes) => {
                self.tally.take(number, &notes);
                Some(request)
            }
            Line::Bad(why) => {
                self.tally.skip(number, text.trim_start_matches('\u{feff}').trim(), &why);
                None
            }
        }
    }
}

/// Adds those that are not there yet.
fn add_new(to: &mut Vec<SocketAddr>, peers: Vec<SocketAddr>) {
    for peer in peers {
        if !to.contains(&peer) {
            to.push(peer);
        }
    }
}

/// Whether one machine can have this address: not unspecified, multicast, broadcast or 240/4,
/// nor port 0. Those refuse whoever names them.
pub(crate) fn is_unicast(addr: SocketAddr) -> bool {
    AddressPolicy::AllowPrivate.admits(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "631a31dd0a46257d5078c0dee4e66e26f73e42ac";
    const B: &str = "0123456789abcdef0123456789abcdef01234567";

    fn read(text: &str) -> (Vec<String>, LinesRead) {
        let tally = LinesRead::default();
        let mut lines = Lines::new(text.as_bytes(), tally.clone());
        let mut out = Vec::new();
        while let Some(request) = lines.next_request().expect("memory reads") {
            let orders = request.orders.iter().map(ToString::to_string);
            let hearsay = request.hearsay.iter().map(|peer| format!("({peer})"));
            let peers: Vec<_> = orders.chain(hearsay).collect();
            out.push(format!("{} {}", &request.hash.to_string()[..4], peers.join(" ")));
        }
        (out, tally)
    }

    #[test]
    fn neighbouring_lines_of_an_infohash_become_one_request() {
        let text = format!(
            "infohash,peer_ip,peer_port\n{A},127.0.0.1,1\n{A},::1,2\n{A},::ffff:127.0.0.1,1\n{B},1.2.3.4,5"
        );
        let (requests, tally) = read(&text);
        assert_eq!(requests, ["631a 127.0.0.1:1 [::1]:2", "0123 1.2.3.4:5"]);
        assert_eq!((tally.good(), tally.bad()), (4, 0));
    }

    #[test]
    fn a_header_is_no_bad_line_wherever_it_stands() {
        let part = format!("infohash,peer_ip,peer_port\n{A},127.0.0.1,1\n");
        let (requests, tally) = read(&format!("\u{feff}{part}{B}\n\u{feff}{part}"));
        assert_eq!(requests, ["631a 127.0.0.1:1", "0123 ", "631a 127.0.0.1:1"]);
        assert_eq!((tally.good(), tally.bad()), (3, 0));
    }

    #[test]
    fn infohashes_and_magnets_may_stand_alone() {
        let magnet = format!("magnet:?xt=urn:btih:{A}&dn=a,b&x.pe=127.0.0.1:7");
        let (requests, tally) =
            read(&format!("\u{feff}{B}\r\n\r\n# note\r\n{magnet}\r\n{B},,\r\n"));
        assert_eq!(requests, ["0123 ", "631a (127.0.0.1:7)", "0123 "]);
        assert_eq!((tally.good(), tally.bad()), (3, 0));
    }

    #[test]
    fn bad_lines_are_named_with_their_number_up_to_a_limit() {
        let mut text = format!("{A},127.0.0.1,0\n{A},host,1\n{A},1.2.3.4\nx\u{1b}[2J\n{A}\n");
        text.push_str(&format!("{A},255.255.255.255,5\n"));
        text.push_str(&"y\n".repeat(19));
        let (requests, tally) = read(&text);
        assert_eq!(requests, ["631a "]);
        assert_eq!((tally.good(), tally.bad()), (1, 24));
        let notes = tally.take_notes();
        assert_eq!(notes.len() as u64, NAMED_MAX);
        assert_eq!(
            notes[0],
            format!("line 1 skipped: {A},127.0.0.1,0: no peer can have this address")
        );
        assert!(notes[3].starts_with("line 4 skipped: x\\u{1b}[2J: "), "{}", notes[3]);
        assert_eq!(tally.closing_notes(), ["14 more lines skipped"]);
    }

    fn good(text: &str) -> Vec<String> {
        let (requests, tally) = read(text);
        assert_eq!(tally.bad(), 0, "{text}: {:?}", tally.take_notes());
        requests
    }

    #[test]
    fn separators_of_every_kind_and_peers_in_one_column_are_read() {
        for text in [
            format!("{A};1.2.3.4;5\n{B};::1;6"),
            format!("{A}\t1.2.3.4\t5\n{B}\t::1\t6"),
            format!("{A},1.2.3.4:5\n{B},[::1]:6"),
            format!("{A} 1.2.3.4:5\r{B} [::1] 6\r"),
            format!("\"{A}\";\"1.2.3.4:5\"\n\"{B}\"\t\"[::1]:6\""),
            format!("sep=;\n\"infohash\";\"peer\"\n{A};1.2.3.4:5\n;;\n{B};[::1]:6;;"),
            format!("{A}, 1.2.3.4 ,5,,\n,,,\n{B},[::1],6"),
        ] {
            assert_eq!(good(&text), ["631a 1.2.3.4:5", "0123 [::1]:6"], "{text}");
        }
        let (_, tally) = read(&format!("{A},::1:6\n{A},1.2.3.4\n"));
        assert_eq!((tally.good(), tally.bad()), (0, 2));
    }

    #[test]
    fn our_own_output_is_a_list_whatever_a_spreadsheet_did_to_it() {
        let header =
            "infohash,name,file_count,total_bytes,piece_length,peer_ip,peer_port,metadata_ok";
        let rows = format!(
            "{A},\"a, \"\"b\"\"; c\",1,2,3,1.2.3.4,5,True\n{A},infohash,1,2,3,::1,6,True\n\
             {B},,0,0,0,,,False\n"
        );
        let expected = ["631a 1.2.3.4:5 [::1]:6", "0123 "];
        assert_eq!(good(&rows), expected);
        assert_eq!(good(&format!("{header}\n{rows}")), expected);
        let saved = format!("\u{feff}{header}\n{rows}").replace("True", "TRUE");
        assert_eq!(good(&saved.replace('\n', "\r\n")), expected);
        let semicolons = format!("{A};\"a;b\";1;1,2E+12;3;1.2.3.4;5;\"TRUE\"\n{B};;0;0;0;;;false");
        assert_eq!(good(&semicolons), ["631a 1.2.3.4:5", "0123 "]);
        // Columns taken out or moved, as far as the header tells.
        let moved = format!("name,peer_port,infohash,peer_ip\nx,5,{A},1.2.3.4\n,,{B},\n{B}");
        assert_eq!(good(&moved), ["631a 1.2.3.4:5", "0123 "]);
        let without = format!(
            "infohash,name,file_count,total_bytes,piece_length,metadata_ok\n{A},x,1,2,3,True"
        );
        assert_eq!(good(&without), ["631a "]);
        let (_, tally) = read(&format!("{A},x,1,2,3,True"));
        assert_eq!(tally.bad(), 1, "without a header nothing tells which columns these are");
    }

    #[test]
    fn utf_16_is_read_by_its_mark() {
        let text = format!("infohash;peer_ip;peer_port\r\n{A};1.2.3.4;5\r\n");
        for (mark, bytes) in [
            ([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]),
            ([0xfe, 0xff], u16::to_be_bytes),
        ] {
            let input: Vec<u8> =
                mark.into_iter().chain(text.encode_utf16().flat_map(bytes)).collect();
            let tally = LinesRead::default();
            let requests: Vec<_> = super::read(&input[..], tally.clone()).flatten().collect();
            assert_eq!((requests.len(), tally.bad()), (1, 0));
            assert_eq!(requests[0].orders, ["1.2.3.4:5".parse().expect("an address")]);
        }
    }

    #[test]
    fn peers_in_links_are_hearsay_and_what_of_a_link_is_ignored_is_named() {
        let link = format!("magnet:?xt=urn:btih:{A}&amp;xt=urn:btmh:12&x.pe=10.0.0.1:1&dn=a;b,c");
        let (requests, tally) = read(&format!("{link}\n\"{link}\",1.2.3.4,5\n{link}\t1.2.3.4:6"));
        assert_eq!(requests, ["631a 1.2.3.4:5 1.2.3.4:6 (10.0.0.1:1)"]);
        assert_eq!((tally.good(), tally.bad()), (3, 0));
        let notes = tally.take_notes();
        assert!(notes[0].starts_with("line 1: 1 xt ignored: not an infohash"), "{notes:?}");
        assert_eq!(good(&format!("urn:btih:{A},1.2.3.4,5")), ["631a 1.2.3.4:5"]);
        assert_eq!(good(&format!("magnet:?xt=urn:btih:{A},,")), ["631a "]);
    }

    #[test]
    fn a_line_without_end_costs_no_memory_and_not_the_next_one() {
        let (requests, tally) = read(&format!("{}\n{A}\n", "z".repeat(LINE_BYTES_MAX + 1)));
        assert_eq!(requests, ["631a "]);
        assert_eq!(tally.bad(), 1);
    }
}
