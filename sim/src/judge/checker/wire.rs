//! Rule 11: what is written to one connection, held against what was read from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use estudely_core::limits::{
    BARREN_ROUNDS_MAX, METADATA_MAX, METADATA_MIN, PIECE_LEN, PIECE_PATIENCE_MIN, REJECT_PAUSE,
    REQUESTS_AT_ONCE, REQUESTS_MAX,
};
use estudely_core::{Duration, Instant};

use super::bencode::{Limits, Value};
use super::frames::{EXTENSIONS_FRONT, Frames, HANDSHAKE, Part};
use super::heard::{Heard, peer_key};
use crate::judge::rule::hex;
use crate::judge::rule::{Findings, MATCHED_REPLIES, REQUESTS_IN_ORDER};

/// The protocol string with its length (3.1).
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// Both directions of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire {
    read: Frames,
    written: Frames,
    /// The infohash that we asked for.
    pub(super) hash: Option<[u8; 20]>,
    /// Whether their base handshake is here.
    pub(super) shaken: bool,
    /// Whether we sent our extension handshake, and the id that it gives ut_metadata.
    ours: Option<u8>,
    /// Under which ids they wanted metadata messages since we last wrote, the present one last.
    ids: Vec<u8>,
    /// The size that they offered first, if acceptable.
    pub(super) size: Option<usize>,
    /// They named a size that is not acceptable.
    absurd: bool,
    /// They said more than is looked at: what was agreed is unknown.
    blind: bool,
    /// When each piece was last asked for.
    asked: BTreeMap<usize, Instant>,
    /// The piece that was asked for before its size was known.
    early: Option<usize>,
    /// Pieces asked for in the present write.
    in_write: u16,
    /// Pieces that came whole.
    pub(super) received: BTreeSet<usize>,
    /// Pieces asked for that neither came nor were refused.
    open: BTreeSet<usize>,
    /// Pieces that were refused and not asked for since; when, if the last round asked for them.
    /// What an earlier one asked for may have been given up before.
    rejected: BTreeMap<usize, Option<Instant>>,
    round: Round,
    /// Pieces that came, whether or not they were asked for.
    came: u64,
    /// Rounds in a row without any, the present one left out.
    barren: u8,
    /// Requests of theirs that may be rejected.
    requests: Vec<i64>,
    rejects: u32,
}

/// The last write that asked for pieces.
#[derive(Clone, Debug, Default)]
struct Round {
    /// Which of them neither came nor were refused.
    open: BTreeSet<usize>,
    sent: u16,
    refused: u16,
    /// Whether any piece came since.
    brought: bool,
    /// How long before it nothing may have been refused that it asks for.
    pause: Duration,
}

impl Wire {
    /// Bytes were read; how many bytes of pieces became whole with them.
    pub(super) fn on_read(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let before = self.held();
        let mut frames = std::mem::take(&mut self.read);
        frames.read(bytes, |part| match part {
            Part::Handshake(_) => self.shaken = true,
            Part::Front(0, front, length) => self.on_extensions(front, length),
            Part::Front(id, front, length) if Some(id) == self.ours => {
                self.on_head(now, front, length);
            }
            Part::Whole(id, front, length) if Some(id) == self.ours => {
                self.on_whole(front, length);
            }
            Part::Front(..) | Part::Whole(..) | Part::Other(_) => {}
        });
        self.read = frames;
        self.held() - before
    }

    /// Bytes were written to `to`.
    pub(super) fn on_written(
        &mut self,
        found: &mut Findings,
        heard: &Heard,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        let mut frames = std::mem::take(&mut self.written);
        let (mut wrong, now) = (None, found.now);
        self.in_write = 0;
        frames.read(bytes, |part| {
            let result = match part {
                Part::Handshake(handshake) => self.on_our_handshake(found, heard, to, handshake),
                Part::Whole(0, payload, _) => self.on_our_extensions(payload),
                Part::Whole(id, payload, _) => self.on_our_message(now, id, payload),
                Part::Other(id) => Err(format!("a message {id:?} that no fetcher sends")),
                Part::Front(..) => Ok(()),
            };
            if let Err(what) = result {
                wrong.get_or_insert(what);
            }
        });
        self.written = frames;
        self.ids.drain(..self.ids.len().saturating_sub(1));
        if let Some(what) = wrong {
            found.fail(REQUESTS_IN_ORDER, || format!("to {to}: {what}"));
        }
    }

    /// Bytes of whole pieces.
    pub(super) fn held(&self) -> usize {
        self.received.iter().map(|piece| self.piece_len(*piece)).sum()
    }

    /// The most bytes of metadata that a fetcher may hold for it.
    pub(super) fn most_held(&self) -> usize {
        if self.blind { METADATA_MAX } else { self.size.unwrap_or(0) }
    }

    /// How many pieces the metadata has.
    pub(super) fn pieces(&self) -> usize {
        self.size.unwrap_or(0).div_ceil(PIECE_LEN)
    }

    fn piece_len(&self, piece: usize) -> usize {
        self.size.unwrap_or(0).saturating_sub(piece * PIECE_LEN).min(PIECE_LEN)
    }

    fn on_extensions(&mut self, front: &[u8], length: usize) {
        if length > EXTENSIONS_FRONT {
            self.blind = true;
        }
        let Some(root) = Value::read(front, Limits::EXTENSIONS) else { return };
        let id = root.get(b"m").and_then(|names| names.get(b"ut_metadata"));
        if let Some(id) = id {
            self.ids.push(id.int().and_then(|id| u8::try_from(id).ok()).unwrap_or(0));
        }
        self.on_size(root.get(b"metadata_size").and_then(Value::int));
    }

    /// They named a size; the first acceptable one counts.
    fn on_size(&mut self, size: Option<i64>) {
        let Some(size) = size.filter(|size| *size != 0) else { return };
        let size = usize::try_from(size).ok();
        let size = size.filter(|size| (METADATA_MIN..=METADATA_MAX).contains(size));
        self.absurd |= size.is_none();
        self.size = self.size.or(size);
    }

    /// The dictionary of a metadata message of theirs is here. What it says counts at once, however
    /// long the data behind it take.
    fn on_head(&mut self, now: Instant, front: &[u8], length: usize) {
        let Some(head) = Head::read(front, length) else { return };
        match head.kind {
            Some(0) => self.requests.push(head.number),
            // The first piece of metadata whose size no handshake named (M1).
            Some(1) if self.size.is_none() && self.due(&head).is_some() => {
                let alone = i64::try_from(head.data).ok();
                let alone = alone.filter(|alone| *alone < PIECE_LEN as i64);
                self.on_size(head.total_size.or(alone));
            }
            Some(2) => head.piece().into_iter().for_each(|piece| self.on_reject(now, piece)),
            _ => {}
        }
    }

    /// They refuse a piece. The first one of metadata whose size is unknown may be had later.
    fn on_reject(&mut self, now: Instant, piece: usize) {
        if self.size.is_none() || !self.asked.contains_key(&piece) {
            return;
        }
        let is_of_round = self.round.open.remove(&piece);
        self.round.refused += u16::from(is_of_round);
        self.open.remove(&piece);
        self.rejected.entry(piece).or_insert(is_of_round.then_some(now));
    }

    /// A metadata message of theirs is here to its last byte.
    fn on_whole(&mut self, front: &[u8], length: usize) {
        let Some(head) = Head::read(front, length).filter(|head| head.kind == Some(1)) else {
            return;
        };
        self.came += 1;
        self.round.brought = true;
        let due = self.due(&head).filter(|piece| self.piece_len(*piece) == head.data);
        if let Some(piece) = due {
            self.received.insert(piece);
            self.open.remove(&piece);
            self.round.open.remove(&piece);
        }
    }

    /// The piece that a message is about, if that was asked for.
    fn due(&self, head: &Head) -> Option<usize> {
        head.piece().filter(|piece| self.asked.contains_key(piece))
    }

    fn on_our_handshake(
        &mut self,
        found: &mut Findings,
        heard: &Heard,
        to: SocketAddr,
        handshake: &[u8; HANDSHAKE],
    ) -> Result<(), String> {
        let (head, rest) = handshake.split_at(28);
        let hash = rest.first_chunk::<20>().copied().unwrap_or_default();
        self.hash = Some(hash);
        found.check(heard.peers.contains(&peer_key(&hash, to)), MATCHED_REPLIES, || {
            format!("{to} is dialled for {}, of which nobody named it a peer", hex(&hash))
        });
        let (protocol, reserved) = head.split_at(20);
        ok(protocol == PROTOCOL && reserved[5] == 0x10, || "not our handshake".to_owned())
    }

    fn on_our_extensions(&mut self, payload: &[u8]) -> Result<(), String> {
        ok(self.shaken, || "an extension handshake before their 68 bytes".to_owned())?;
        ok(self.ours.is_none(), || "a second extension handshake".to_owned())?;
        let root = whole(payload).ok_or("an extension handshake that is not canonical")?;
        let id = root.get(b"m").and_then(|m| m.get(b"ut_metadata")).and_then(Value::int);
        let id = id.and_then(|id| u8::try_from(id).ok()).filter(|id| *id != 0);
        self.ours = Some(id.ok_or("an extension handshake without ut_metadata")?);
        Ok(())
    }

    fn on_our_message(&mut self, now: Instant, id: u8, payload: &[u8]) -> Result<(), String> {
        ok(self.ours.is_some(), || "a metadata message before our extensions".to_owned())?;
        let head = whole(payload).ok_or("a metadata message that is not canonical")?;
        if self.blind {
            return Ok(());
        }
        ok(!self.ids.is_empty(), || "a metadata message before their extensions".to_owned())?;
        ok(id != 0 && self.ids.contains(&id), || {
            format!("a metadata message under id {id}; they announced {:?}", self.ids)
        })?;
        let piece = head.get(b"piece").and_then(Value::int).unwrap_or(-1);
        match head.get(b"msg_type").and_then(Value::int) {
            Some(0) => self.on_our_request(now, piece),
            Some(2) => {
                let asked = self.requests.iter().position(|request| *request == piece);
                let asked = asked.ok_or_else(|| format!("a reject of {piece}, unasked"))?;
                self.requests.swap_remove(asked);
                self.rejects += 1;
                ok(self.rejects <= REQUESTS_MAX, || format!("{} rejects", self.rejects))
            }
            kind => Err(format!("a metadata message of kind {kind:?}")),
        }
    }

    /// 9.6: so many in one write. M9: what was refused or did not come is asked for again, what
    /// came is not.
    fn on_our_request(&mut self, now: Instant, piece: i64) -> Result<(), String> {
        self.in_write += 1;
        ok(self.in_write <= REQUESTS_AT_ONCE, || format!("{} requests at once", self.in_write))?;
        let count = self.pieces();
        if count == 0 {
            ok(piece == 0 && !self.absurd, || {
                format!("piece {piece} is asked for without an acceptable size")
            })?;
            // Before they name a size, the first piece may be had (M1).
            self.early = Some(0);
            let again = self.asked.insert(0, Instant::START).is_some();
            return ok(!again, || "a first piece is asked for twice before a size".to_owned());
        }
        if self.in_write == 1 {
            self.begin_round()?;
        }
        let number = usize::try_from(piece).ok().filter(|number| *number < count);
        let number = number.ok_or_else(|| format!("piece {piece} of {count} is asked for"))?;
        let before = self.asked.insert(number, now);
        // One that came before its size was known may be left to what an earlier peer left.
        let early = self.early.take_if(|early| *early == number).is_some();
        let came = self.received.contains(&number) && !early;
        ok(!came, || format!("piece {piece} is asked for, and came before"))?;
        let pause = self.round.pause;
        let again = match self.rejected.remove(&number) {
            Some(refused) => refused.is_some_and(|refused| now < refused + pause),
            None => before.is_some_and(|before| now < before + PIECE_PATIENCE_MIN),
        };
        self.open.insert(number);
        self.round.open.insert(number);
        self.round.sent += 1;
        ok(!again, || format!("piece {piece} is asked for again"))
    }

    /// M9: after a whole round of refusals another one is begun only where pieces came, and not
    /// when so many in a row brought none.
    fn begin_round(&mut self) -> Result<(), String> {
        let all_answered = self.open.is_empty();
        let pause = if all_answered { REJECT_PAUSE } else { PIECE_PATIENCE_MIN };
        let before = std::mem::replace(&mut self.round, Round { pause, ..Round::default() });
        if before.sent == 0 || before.brought {
            self.barren = 0;
        } else {
            self.barren = self.barren.saturating_add(1);
        }
        let is_refused = all_answered && before.sent > 0 && before.refused == before.sent;
        let barren = self.barren;
        ok(!is_refused || (self.came > 0 && barren < BARREN_ROUNDS_MAX), || {
            format!("pieces are asked for after {barren} rounds of which the last was refused")
        })
    }
}

/// What the dictionary of a metadata message says.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Option<i64>,
    number: i64,
    total_size: Option<i64>,
    /// Bytes behind the dictionary.
    data: usize,
}

impl Head {
    /// What `front` says, of a message of so many bytes.
    fn read(front: &[u8], length: usize) -> Option<Self> {
        let head = Value::read(front, Limits::METADATA)?;
        let int = |key: &[u8]| head.get(key).and_then(Value::int);
        let (kind, total_size, data) = (int(b"msg_type"), int(b"total_size"), length - head.len());
        Some(Self { kind, number: int(b"piece")?, total_size, data })
    }

    fn piece(&self) -> Option<usize> {
        usize::try_from(self.number).ok()
    }
}

fn ok(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// A canonical dictionary and nothing after it.
fn whole(payload: &[u8]) -> Option<Value<'_>> {
    Value::read(payload, Limits::STRICT)
        .filter(|root| root.is_dict() && root.len() == payload.len())
}
