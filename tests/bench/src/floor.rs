//! The floor: nothing but connect, handshake, fetch and hash, from a list of live peers.
//!
//! No DHT, no retries, no deadlines, no rows: what any crawler on this machine must pay per
//! torrent, so that a crawl can be judged by its ratio to it.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use slab::Slab;

/// Connections at a time: enough to keep both ends busy on loopback.
const CONNECTIONS: usize = 512;
/// Bytes of the base handshake, and of a piece of metadata (BEP 3, 9).
const HANDSHAKE_LEN: usize = 68;
const PIECE_LEN: usize = 16_384;

/// One torrent and a live peer of it.
type Job = ([u8; 20], SocketAddr);

struct Fetch {
    stream: TcpStream,
    hash: [u8; 20],
    read: Vec<u8>,
    /// Bytes of `read` that are done with.
    taken: usize,
    greeted: bool,
    info: Vec<u8>,
    size: usize,
    connected: bool,
}

/// Fetches every `HEX IP:PORT` line of `list` and returns how many dictionaries had their hash.
pub(crate) fn run(list: impl BufRead) -> io::Result<u64> {
    let mut jobs = list.lines().map(|line| parse(&line?)).collect::<io::Result<VecDeque<Job>>>()?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut open: Slab<Fetch> = Slab::new();
    let mut scratch = vec![0; 256 * 1024];
    let mut verified = 0;
    loop {
        while open.len() < CONNECTIONS
            && let Some((hash, addr)) = jobs.pop_front()
        {
            let entry = open.vacant_entry();
            let mut stream = TcpStream::connect(addr)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(entry.key()), both)?;
            entry.insert(Fetch {
                stream,
                hash,
                read: Vec::new(),
                taken: 0,
                greeted: false,
                info: Vec::new(),
                size: 0,
                connected: false,
            });
        }
        if open.is_empty() {
            return Ok(verified);
        }
        poll.poll(&mut events, None)?;
        for event in &events {
            let slot = event.token().0;
            let Some(fetch) = open.get_mut(slot) else { continue };
            if let Some(right) = fetch.turn(&mut scratch) {
                verified += u64::from(right);
                open.remove(slot);
            }
        }
    }
}

impl Fetch {
    /// Goes on as far as it can; `Some` once it is over, saying whether the hash was right.
    fn turn(&mut self, scratch: &mut [u8]) -> Option<bool> {
        if !self.connected {
            let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
            hello.extend_from_slice(&self.hash);
            hello
                .extend_from_slice(b"-XX0000-abcdefghijkl\0\0\0\x1a\x14\0d1:md11:ut_metadatai3eee");
            match self.stream.write(&hello) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return None,
                Ok(count) if count == hello.len() => self.connected = true,
                _ => return Some(false),
            }
        }
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Some(false),
                Ok(count) => {
                    self.read.extend_from_slice(&scratch[..count]);
                    if let Some(right) = self.take() {
                        return Some(right);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => return Some(false),
            }
        }
    }

    fn take(&mut self) -> Option<bool> {
        if self.taken == 0 {
            if self.read.len() < HANDSHAKE_LEN {
                return None;
            }
            self.taken = HANDSHAKE_LEN;
        }
        while let Some((length, rest)) = self.read[self.taken..].split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let message = rest.get(..length)?;
            match message {
                [20, 0, text @ ..] if !self.greeted => {
                    let id = number_after(text, b"ut_metadatai")?;
                    self.size = number_after(text, b"metadata_sizei")?;
                    self.greeted = true;
                    let requests = requests(id as u8, self.size.div_ceil(PIECE_LEN));
                    if self.stream.write(&requests).ok() != Some(requests.len()) {
                        return Some(false);
                    }
                }
                // Pieces come in order here, each header ending in `ee`.
                [20, 3, data @ ..] => {
                    let end = data.windows(2).position(|pair| pair == b"ee")?;
                    self.info.extend_from_slice(&data[end + 2..]);
                }
                _ => {}
            }
            self.taken += 4 + length;
        }
        (self.greeted && self.info.len() >= self.size).then(|| {
            Sha1::digest(&self.info)[..] == self.hash
                || Sha256::digest(&self.info)[..20] == self.hash
        })
    }
}

fn requests(id: u8, pieces: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in 0..pieces {
        let request = format!("d8:msg_typei0e5:piecei{piece}ee");
        bytes.extend_from_slice(&(request.len() as u32 + 2).to_be_bytes());
        bytes.extend_from_slice(&[20, id]);
        bytes.extend_from_slice(request.as_bytes());
    }
    bytes
}

fn number_after(text: &[u8], key: &[u8]) -> Option<usize> {
    let at = text.windows(key.len()).position(|window| window == key)? + key.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

fn parse(line: &str) -> io::Result<Job> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("no peer: {line}"));
    let (hex, addr) = line.split_once(' ').ok_or_else(bad)?;
    let mut hash = [0; 20];
    for (byte, at) in hash.iter_mut().zip((0..hex.len()).step_by(2)) {
        let digits = hex.get(at..at + 2).ok_or_else(bad)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
    }
    Ok((hash, addr.parse().map_err(|_| bad())?))
}
