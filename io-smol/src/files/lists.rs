//! The input of `crawl fetch`: a `peers.csv` with or without header, a bare list of infohashes or
//! magnet links, or any mixture of them, from a file or standard input.
//!
//! Read line by line as the run takes them, so that a list of any length needs no memory. A line
//! that says nothing usable is named and skipped; it never ends the run.

use std::fs::File;
use std::future::Future;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::Sender;
use estudely_core::limits::MAGNET_LEN_MAX;
use estudely_core::{AddressPolicy, magnet};
use smol::future::FutureExt;
use smol::stream::{self, StreamExt};

use super::requests::{Request, Requests};
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

    /// The line for the end, if bad lines were left unnamed.
    pub fn closing_note(&self) -> Option<String> {
        let unnamed = self.bad().checked_sub(NAMED_MAX).filter(|n| *n > 0)?;
        Some(format!("{unnamed} more lines skipped"))
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
    let unreadable = |error: io::Error| format!("{name}: cannot be read: {error}");
    let (sender, receiver) = async_channel::bounded(AHEAD_MAX);
    let (failed, failure) = async_channel::bounded(1);
    let (path, shared) = (path.map(Path::to_owned), tally.clone());
    // Opening may wait too: for somebody to write into a named pipe.
    let reader = move || match input(path.as_deref()) {
        Ok(input) => forward(Lines::new(BufReader::new(input), shared.clone()), &sender, &shared),
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
    let mut lines = Lines::new(BufReader::new(input), tally);
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
                let line = lines.line;
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
    input: BufReader<R>,
    tally: LinesRead,
    /// Lines read so far.
    line: u64,
    text: Vec<u8>,
    /// A good line that belongs to the next request.
    waiting: Option<Request>,
}

impl<R: Read> Lines<R> {
    fn new(input: BufReader<R>, tally: LinesRead) -> Self {
        Self { input, tally, line: 0, text: Vec::new(), waiting: None }
    }

    /// The next infohash with the peers that neighbouring lines name. Never waits for input while
    /// it has a whole line.
    fn next_request(&mut self) -> io::Result<Option<Request>> {
        let mut gathered = self.waiting.take();
        loop {
            if let Some(request) = &gathered
                && (self.input.buffer().is_empty() || request.peers.len() >= REQUEST_PEERS_MAX)
            {
                return Ok(gathered);
            }
            let Some(line) = self.next_good()? else { return Ok(gathered) };
            match &mut gathered {
                None => gathered = Some(line),
                Some(request) if request.hash == line.hash => {
                    for peer in line.peers {
                        if !request.peers.contains(&peer) {
                            request.peers.push(peer);
                        }
                    }
                }
                Some(_) => {
                    self.waiting = Some(line);
                    return Ok(gathered);
                }
            }
        }
    }

    /// The next line that names something.
    fn next_good(&mut self) -> io::Result<Option<Request>> {
        while let Some(fits) = self.read_line()? {
            if !fits {
                self.tally.skip(self.line, "", "longer than any magnet link");
                continue;
            }
            let text = String::from_utf8_lossy(&self.text);
            let text = text.trim_start_matches('\u{feff}').trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            // Also further down: lists of several runs are put together with cat.
            if is_header(text) {
                continue;
            }
            match parse_line(text) {
                Ok(request) => {
                    self.tally.with(|counts| counts.good += 1);
                    return Ok(Some(request));
                }
                Err(why) => self.tally.skip(self.line, text, &why),
            }
        }
        Ok(None)
    }

    /// Reads a line into `text`: whether it fits, `None` at the end.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.text.clear();
        let mut fits = true;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                let ended = self.text.is_empty() && fits;
                self.line += u64::from(!ended);
                return Ok((!ended).then_some(fits));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            fits &= self.text.len() + part.len() <= LINE_BYTES_MAX;
            if fits {
                self.text.extend_from_slice(part);
            }
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                self.line += 1;
                return Ok(Some(fits));
            }
        }
    }
}

fn is_header(text: &str) -> bool {
    let mut fields = text.split(',').map(unquoted);
    fields.next().is_some_and(|field| field.eq_ignore_ascii_case("infohash"))
}

fn unquoted(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field)
}

/// `infohash,peer_ip,peer_port`, an infohash alone, or a magnet link.
fn parse_line(text: &str) -> Result<Request, String> {
    let fields: Vec<&str> = match text.get(..7) {
        Some(start) if start.eq_ignore_ascii_case("magnet:") => vec![text],
        _ => text.splitn(4, ',').map(unquoted).collect(),
    };
    let (hash, peer) = match fields[..] {
        [hash] | [hash, "", ""] => (hash, None),
        [hash, ip, port] => (hash, Some(peer(ip, port)?)),
        _ => return Err("neither infohash,peer_ip,peer_port nor an infohash alone".to_owned()),
    };
    let magnet = magnet::parse(hash).map_err(|error| error.to_string())?;
    let mut peers = magnet.peers;
    // A link may suggest what no host can own.
    peers.retain(|peer| is_unicast(*peer));
    peers.extend(peer);
    Ok(Request { hash: magnet.hash, peers })
}

fn peer(ip: &str, port: &str) -> Result<SocketAddr, String> {
    let ip: IpAddr = ip.parse().map_err(|_| "peer_ip is no address".to_owned())?;
    let port = port.parse().map_err(|_| "peer_port is no port".to_owned())?;
    let addr = SocketAddr::new(ip.to_canonical(), port);
    if !is_unicast(addr) {
        return Err("no peer can have this address".to_owned());
    }
    Ok(addr)
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
        let mut lines = Lines::new(BufReader::new(text.as_bytes()), tally.clone());
        let mut out = Vec::new();
        while let Some(request) = lines.next_request().expect("memory reads") {
            let peers: Vec<_> = request.peers.iter().map(ToString::to_string).collect();
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
        assert_eq!(requests, ["0123 ", "631a 127.0.0.1:7", "0123 "]);
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
        assert_eq!(tally.closing_note().as_deref(), Some("14 more lines skipped"));
    }

    #[test]
    fn a_line_without_end_costs_no_memory_and_not_the_next_one() {
        let (requests, tally) = read(&format!("{}\n{A}\n", "z".repeat(LINE_BYTES_MAX + 1)));
        assert_eq!(requests, ["631a "]);
        assert_eq!(tally.bad(), 1);
    }
}
