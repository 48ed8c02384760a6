//! Conversations with peers: whatever comes, in whatever parts, leads to the same bytes and the
//! same end, holds no more memory than was sent, and yields nothing but what hashes.

use std::sync::LazyLock;

use estudely_core::info::Info;
use estudely_core::internal::exchange::{Attempt, Pipeline, Progress, UNGUARDED};
use estudely_core::internal::pieces::Pieces;
use estudely_core::limits::{PIECE_LEN, PIECE_TIMEOUT, PIECES_MAX, REQUESTS_MAX};
use estudely_core::wire::{
    Extensions, HANDSHAKE_HASH_END, HANDSHAKE_LEN, Handshake, LENGTH_LEN, MetadataMessage,
    OUR_METADATA_ID, PROTOCOL, emit_extended, emit_frame,
};
use estudely_core::{
    Duration, Exchange, InfoHash, Instant, Metadata, Outcome, PeerFault, Seed, Step, Transport,
};

use super::input::{Input, split};

/// Longest stream that is also fed byte by byte.
const BYTEWISE_MAX: usize = 4_096;

/// Longest stream that a script makes.
const STREAM_MAX: usize = 128 * 1024;

/// Longest metadata that is searched in what the peer sent.
const SEARCHED_MAX: usize = 256;

/// Most that we say in one conversation: two handshakes, a request for each piece, for some of them
/// again, and our refusals.
const SAID_MAX: usize = 256 + 64 * (2 * PIECES_MAX + REQUESTS_MAX as usize);

/// Metadata of three pieces, the last one short, and its key.
static TORRENT: LazyLock<(Vec<u8>, InfoHash)> = LazyLock::new(|| {
    let mut info = b"d6:lengthi1e4:name".to_vec();
    let name = 2 * PIECE_LEN;
    info.extend_from_slice(format!("{name}:").as_bytes());
    info.extend((0..name).map(|at| b'a' + (at % 23) as u8));
    info.extend_from_slice(b"12:piece lengthi16384e6:pieces20:abcdefghijklmnopqrste");
    let key = InfoHash(sha1_smol::Sha1::from(&info).digest().bytes());
    (info, key)
});

fn metadata() -> &'static [u8] {
    &TORRENT.0
}

/// The 68 bytes and the messages behind them: read, written, read again.
pub(super) fn handshake(data: &[u8]) {
    if let Some((front, rest)) = data.split_first_chunk::<HANDSHAKE_LEN>() {
        if let Some(theirs) = Handshake::parse(front) {
            let mut written = Vec::new();
            theirs.emit(&mut written);
            assert_eq!(written, front);
        }
        messages(rest);
    }
    messages(data);
}

/// Extension and metadata messages as payloads.
fn messages(payload: &[u8]) {
    if let Ok(read) = Extensions::parse(payload) {
        assert_eq!(Extensions::parse_front(payload), Ok(read));
        let mut written = Vec::new();
        read.emit(&mut written);
        let again = Extensions::parse(&written[6..]).expect("what was written is read");
        assert_eq!(again, read);
    }
    if let Ok((message, head)) = MetadataMessage::parse(payload) {
        assert!(head <= payload.len());
        let mut written = Vec::new();
        message.emit_head(&mut written);
        assert_eq!(MetadataMessage::parse(&written), Ok((message, written.len())));
    }
}

/// One whole conversation. The first bytes of the input say how it is held: pipelined or not, with
/// a piece from an earlier peer or not, that piece right or wrong, whether handshake and offer come
/// from us, whether the infohash is that of our metadata or the one of [`UNGUARDED`], and where the
/// stream is cut; the rest is what the peer sends, as it stands, as one metadata message, or as a
/// script of messages.
pub(super) fn exchange(data: &[u8]) {
    let mut input = Input(data);
    let how = How::of(&mut input);
    let cuts: Vec<usize> = (0..4).map(|_| usize::from(input.u8()) + 1).collect();
    let stream = how.stream(input.0);
    let whole = how.talk(std::iter::once(&stream[..]));
    assert_eq!(how.talk(split(&stream, &cuts)), whole, "splitting changes nothing");
    if stream.len() <= BYTEWISE_MAX {
        assert_eq!(how.talk(split(&stream, &[1])), whole, "not even byte by byte");
    }
    assert!(whole.0.len() <= SAID_MAX, "what we say is bounded, whatever the peer says");
    how.judge(&stream, &whole.1);
    if how.hash == TORRENT.1 && how.is_honest(input.0) {
        let blamed = whole.1.result == Err(PeerFault::BadHash);
        assert!(!blamed, "an earlier peer's lie is not laid at this one's door");
    }
    how.talk_slowly(&stream, &cuts);
}

/// What the peer sends in the conversation of an input, were it about `hash`.
pub(super) fn peer_stream(data: &[u8], hash: InfoHash) -> Vec<u8> {
    let mut input = Input(data);
    let how = How { hash, ..How::of(&mut input) };
    let _cuts: [u8; 4] = input.bytes();
    let mut stream = how.stream(input.0);
    if stream.starts_with(&PROTOCOL)
        && let Some(theirs) = stream.get_mut(HANDSHAKE_HASH_END - hash.0.len()..HANDSHAKE_HASH_END)
    {
        theirs.copy_from_slice(&hash.0);
    }
    stream
}

/// How a conversation is held.
struct How {
    pipeline: Pipeline,
    /// What an earlier peer left behind.
    resume: Option<Pieces>,
    greets: bool,
    offers: bool,
    hash: InfoHash,
    form: Form,
}

/// What the rest of an input is.
enum Form {
    /// Bytes as they go over the wire.
    Raw,
    /// The payload of one metadata message, which comes while pieces are outstanding.
    Message,
    /// Choices of messages, whose frames are right: see [`script`].
    Script,
}

impl How {
    fn of(input: &mut Input<'_>) -> Self {
        let bits = input.u8();
        let right = bits & 16 == 0;
        Self {
            pipeline: if bits & 1 == 0 { Pipeline::All } else { Pipeline::OneByOne },
            resume: (bits & 2 != 0).then(|| first_piece(bits & 128 != 0)).flatten(),
            greets: bits & 4 == 0,
            offers: bits & 8 == 0,
            hash: if right { TORRENT.1 } else { UNGUARDED },
            form: match bits & 96 {
                0 | 96 => Form::Raw,
                32 => Form::Script,
                _ => Form::Message,
            },
        }
    }

    /// What the peer sends, with the usual beginning if so chosen.
    fn stream(&self, said: &[u8]) -> Vec<u8> {
        let mut stream = Vec::new();
        if self.greets {
            Handshake::new(self.hash, *b"-FZ0001-fuzzfuzzfuzz").emit(&mut stream);
            if self.offers {
                let size = Some(metadata().len() as i64);
                Extensions { ut_metadata: Some(3), metadata_size: size, client: None }
                    .emit(&mut stream);
            }
        }
        match self.form {
            Form::Raw => stream.extend_from_slice(said),
            Form::Message => emit_extended(&mut stream, OUR_METADATA_ID, |out| {
                out.extend_from_slice(said);
            }),
            Form::Script => {
                let _ = script(Input(said), &mut stream);
            }
        }
        stream
    }

    /// Whether the peer brings, of all data, only the right bytes in the right places.
    fn is_honest(&self, said: &[u8]) -> bool {
        matches!(self.form, Form::Script) && script(Input(said), &mut Vec::new()) == Data::Right
    }

    fn begin(&self) -> (Exchange, Vec<u8>) {
        let resume = self.resume.clone();
        let attempt = Attempt { transport: Transport::Tcp, pipeline: self.pipeline };
        let mut exchange =
            Exchange::new(Instant::START, self.hash, attempt, resume, Seed::from_u64(1));
        let mut out = Vec::new();
        exchange.handle_connected(Instant::START, &mut out);
        (exchange, out)
    }

    /// All parts at one instant: what we wrote, and how it ended.
    fn talk<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Outcome) {
        let (mut exchange, mut out) = self.begin();
        let mut received = self.resume.as_ref().map_or(0, Pieces::bytes_held);
        for part in parts {
            received += part.len();
            match exchange.handle_bytes(Instant::START, part, &mut out) {
                Step::Finished(outcome) => return (out, *outcome),
                Step::Continue => {
                    assert!(exchange.bytes_held() <= received + PIECE_LEN, "no more than came");
                }
            }
        }
        let outcome = exchange.handle_closed(Instant::START);
        (out, outcome)
    }

    /// A part every few seconds: there is an end, whatever the peer does.
    fn talk_slowly(&self, stream: &[u8], cuts: &[usize]) {
        let (mut exchange, mut out) = self.begin();
        let mut now = Instant::START;
        for part in split(stream, cuts) {
            now = now + Duration::from_secs(3);
            if let Step::Finished(outcome) = exchange.handle_bytes(now, part, &mut out) {
                return self.judge(stream, &outcome);
            }
        }
        loop {
            let due = exchange.poll_timeout();
            assert!(due <= now + PIECE_TIMEOUT, "a deadline that cannot be moved for ever");
            if let Step::Finished(outcome) = exchange.handle_timeout(due, &mut out) {
                return self.judge(stream, &outcome);
            }
            assert!(exchange.poll_timeout() > due, "no deadline is due twice");
        }
    }

    fn judge(&self, stream: &[u8], outcome: &Outcome) {
        match &outcome.result {
            Ok(fetched) => {
                assert_eq!(outcome.progress, Progress::Complete);
                assert!(outcome.partial.is_none());
                self.trust(stream, &fetched.metadata);
                assert!(fetched.info == Info::parse(fetched.metadata.raw()), "read as it stands");
            }
            Err(fault) => {
                let partial = outcome.partial.as_ref();
                assert!(partial.is_none_or(|pieces| pieces.pieces_held() > 0));
                if *fault == PeerFault::BadHash {
                    assert_eq!(outcome.progress, Progress::Complete);
                    // Of another size than this peer's, so never part of what was hashed.
                    let untouched = partial.is_none() || partial == self.resume.as_ref();
                    assert!(untouched, "nothing is kept of what hashes wrong");
                }
            }
        }
    }

    /// Only what hashes is metadata; where a fuzzing build leaves the gate open, only what came.
    fn trust(&self, stream: &[u8], metadata: &Metadata) {
        assert_eq!(metadata.hash(), self.hash);
        let raw = metadata.raw();
        if !cfg!(fuzzing) || self.hash != UNGUARDED {
            assert!(raw == self::metadata(), "the right bytes, all of them");
            return;
        }
        let said = |part: &[u8]| stream.windows(part.len()).any(|window| window == part);
        assert!(raw.len() > SEARCHED_MAX || said(raw), "nothing but what the peer said");
    }
}

/// What a script says of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// Nothing but the right bytes in the right places.
    Right,
    /// Perhaps something else.
    Doubtful,
}

/// Messages in right frames, chosen byte by byte, so that short inputs come far.
fn script(mut input: Input<'_>, stream: &mut Vec<u8>) -> Data {
    let mut said = Data::Right;
    let data = |piece: i64, total_size: i64, bytes: &[u8], stream: &mut Vec<u8>| {
        let message = MetadataMessage::Data { piece, total_size: Some(total_size) };
        message.emit(stream, OUR_METADATA_ID, bytes);
    };
    let right = metadata().len() as i64;
    while !input.is_empty() && stream.len() < STREAM_MAX {
        let choice = input.u8() % 9;
        if matches!(choice, 2 | 3 | 7 | 8) {
            said = Data::Doubtful;
        }
        match choice {
            0 => {
                let (id, size) = (i64::from(input.u8()), i64::from(input.u16()));
                let metadata_size = (size > 0).then_some(if size > 0x7fff { right } else { size });
                Extensions { ut_metadata: Some(id), metadata_size, client: None }.emit(stream);
            }
            1 => {
                let piece = usize::from(input.u8() % 3);
                let bytes = metadata().chunks(PIECE_LEN).nth(piece).unwrap_or_default();
                data(piece as i64, right, bytes, stream);
            }
            2 => {
                // A whole piece of something else.
                let (piece, byte) = (usize::from(input.u8() % 3), input.u8());
                let len = metadata().chunks(PIECE_LEN).nth(piece).map_or(0, <[u8]>::len);
                data(piece as i64, right, &vec![byte; len], stream);
            }
            3 => {
                let (piece, total, len) = (input.u8() as i8, input.u16(), input.u8());
                data(piece.into(), total.into(), input.slice(len.into()), stream);
            }
            4 => MetadataMessage::Reject { piece: i64::from(input.u8() as i8) }.emit(
                stream,
                OUR_METADATA_ID,
                b"",
            ),
            5 => MetadataMessage::Request { piece: i64::from(input.u8() as i8) }.emit(
                stream,
                OUR_METADATA_ID,
                b"",
            ),
            6 => stream.extend_from_slice(&[0; LENGTH_LEN]),
            7 => {
                let (id, len) = (input.u8() % 4, input.u8());
                emit_extended(stream, id, |out| out.extend_from_slice(input.slice(len.into())));
            }
            _ => {
                let (id, len) = (input.u8(), input.u8());
                emit_frame(stream, |out| {
                    out.push(id);
                    out.extend_from_slice(input.slice(len.into()));
                });
            }
        }
    }
    said
}

/// The first piece of the metadata, or as much of something else.
fn first_piece(poisoned: bool) -> Option<Pieces> {
    let metadata = metadata();
    let mut pieces = Pieces::new(metadata.len() as i64)?;
    let poison = [0x55; PIECE_LEN];
    let piece = if poisoned { &poison } else { &metadata[..PIECE_LEN] };
    (pieces.begin(0) && pieces.fill(piece)).then_some(pieces)
}
