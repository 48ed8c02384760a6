//! Peers that accept a connection, one honest, each of the others bad in a way of its own.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Bytes of the first message, and where the infohash stands in it.
const HANDSHAKE_LEN: usize = 68;
const INFOHASH: std::ops::Range<usize> = 28..48;

/// Under which extension id this peer takes requests.
const OWN_ID: u8 = 3;

/// Under which the crawler takes answers: what it always says in its handshake.
const THEIR_ID: u8 = 2;

/// Between two bytes of one that drips, and how long a write to a full socket may last.
const SECOND: Duration = Duration::from_secs(1);

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Serves the honest torrent.
    Honest,
    /// Never says a word.
    Silent,
    /// Closes at once.
    Closes,
    /// Speaks HTTP.
    SpeaksHttp,
    /// A byte of the handshake a second.
    DripHandshake,
    /// A byte of the piece a second.
    DripPiece,
    /// Handshake of another infohash.
    OtherInfohash,
    /// Closes after the handshake.
    ClosesAfterHandshake,
    /// Offers this size.
    Size(i64),
    /// Offers no size and answers no request.
    NoSize,
    /// Speaks no `ut_metadata`.
    NoMetadataExtension,
    /// Right length, wrong content.
    WrongHash,
    /// A piece that is too short.
    ShortPiece,
    /// Keep-alives without end.
    KeepAlives,
    /// A frame of 4 GiB.
    HugeFrame,
    /// Rejects what is asked and goes on rejecting.
    Rejects,
    /// Rejects pieces that nobody asked for.
    RejectStorm,
    /// Requests without end.
    RequestStorm,
    /// Extension handshakes without end.
    HandshakeStorm,
}

impl Manner {
    /// Every bad one.
    pub(crate) const HOSTILE: [Self; 21] = [
        Self::Silent,
        Self::Closes,
        Self::SpeaksHttp,
        Self::DripHandshake,
        Self::DripPiece,
        Self::OtherInfohash,
        Self::ClosesAfterHandshake,
        Self::Size(0),
        Self::Size(-1),
        Self::Size(1 << 31),
        Self::Size((32 << 20) + 1),
        Self::NoSize,
        Self::NoMetadataExtension,
        Self::WrongHash,
        Self::ShortPiece,
        Self::KeepAlives,
        Self::HugeFrame,
        Self::Rejects,
        Self::RejectStorm,
        Self::RequestStorm,
        Self::HandshakeStorm,
    ];
}

/// Serves on that address and any port, until the process ends.
pub(crate) fn serve(ip: Ipv4Addr, manner: Manner, info: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("a socket on loopback");
    let own = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let info = info.clone();
            // It ends with an error when the crawler hangs up, as it should.
            thread::spawn(move || converse(stream, manner, &info));
        }
    });
    own
}

fn converse(mut stream: TcpStream, manner: Manner, info: &[u8]) -> io::Result<()> {
    stream.set_write_timeout(Some(SECOND))?;
    let mut theirs = [0; HANDSHAKE_LEN];
    match manner {
        Manner::Closes => return Ok(()),
        Manner::Silent => return listen(&mut stream),
        _ => stream.read_exact(&mut theirs)?,
    }
    let mut handshake =
        *b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x01????????????????????-XX0000-abcdefghijkl";
    handshake[INFOHASH].copy_from_slice(&theirs[INFOHASH]);
    match manner {
        Manner::SpeaksHttp => stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?,
        Manner::DripHandshake => return drip(&mut stream, &handshake),
        Manner::OtherInfohash => handshake[30] ^= 1,
        _ => {}
    }
    stream.write_all(&handshake)?;
    match manner {
        Manner::ClosesAfterHandshake => return Ok(()),
        Manner::KeepAlives => return storm(&mut stream, &[0; 4]),
        Manner::HugeFrame => {
            stream.write_all(&[0xff, 0xff, 0xff, 0xff, 20, 0])?;
            return storm(&mut stream, &[b'd'; 64]);
        }
        Manner::NoMetadataExtension => {
            stream.write_all(&extended(0, b"d1:md6:ut_pexi1eee"))?;
            return listen(&mut stream);
        }
        Manner::NoSize => {
            stream.write_all(&extended(0, b"d1:md11:ut_metadatai3eee"))?;
            return listen(&mut stream);
        }
        _ => {}
    }
    let size = match manner {
        Manner::Size(size) => size,
        _ => info.len() as i64,
    };
    let offer = format!("d1:md11:ut_metadatai{OWN_ID}ee13:metadata_sizei{size}ee");
    stream.write_all(&extended(0, offer.as_bytes()))?;
    match manner {
        Manner::RequestStorm => {
            storm(&mut stream, &extended(THEIR_ID, b"d8:msg_typei0e5:piecei0ee"))
        }
        Manner::RejectStorm => {
            storm(&mut stream, &extended(THEIR_ID, b"d8:msg_typei2e5:piecei7ee"))
        }
        Manner::HandshakeStorm => storm(&mut stream, &extended(0, offer.as_bytes())),
        _ => answer(&mut stream, manner, info),
    }
}

/// Waits for a request, then says what the manner demands.
fn answer(stream: &mut TcpStream, manner: Manner, info: &[u8]) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame)?;
        if frame.starts_with(&[20, OWN_ID]) {
            break;
        }
    }
    let head = format!("d8:msg_typei1e5:piecei0e10:total_sizei{}ee", info.len());
    let piece = |content: &[u8]| extended(THEIR_ID, &[head.as_bytes(), content].concat());
    match manner {
        Manner::DripPiece => {
            let whole = piece(info);
            let (start, rest) = whole.split_at(100);
            stream.write_all(start)?;
            return drip(stream, rest);
        }
        Manner::WrongHash => stream.write_all(&piece(&vec![b'e'; info.len()]))?,
        Manner::ShortPiece => stream.write_all(&piece(&info[1..]))?,
        Manner::Rejects => {
            let reject = extended(THEIR_ID, b"d8:msg_typei2e5:piecei0ee");
            return storm(stream, &reject);
        }
        _ => stream.write_all(&piece(info))?,
    }
    listen(stream)
}

/// An extension message.
pub(crate) fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32 + 2;
    [&length.to_be_bytes()[..], &[20, id], payload].concat()
}

/// Reads until the crawler hangs up.
fn listen(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(|_| ())
}

/// The same without end.
fn storm(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let many = message.repeat(64);
    loop {
        stream.write_all(&many)?;
    }
}

/// A byte a second, until the crawler hangs up.
fn drip(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.set_read_timeout(Some(SECOND))?;
    for byte in bytes {
        stream.write_all(&[*byte])?;
        match stream.read(&mut [0; 1_024]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}
