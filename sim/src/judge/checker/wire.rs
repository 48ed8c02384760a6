//! Rule 11: what is written to one connection, held against what was read from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use estudely_core::Instant;
use estudely_core::limits::{
    METADATA_MAX, METADATA_MIN, PIECE_LEN, PIECE_PATIENCE_MIN, REQUESTS_AT_ONCE, REQUESTS_MAX,
};

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
    /// Pieces asked for in the present write.
    in_write: u16,
    /// Pieces that came whole.
    pub(super) received: BTreeSet<usize>,
    rejected: BTreeSet<usize>,
    /// Requests of theirs that may be rejected.
    requests: Vec<i64>,
    rejects: u32,
}

impl Wire {
    /// Bytes were read; how many bytes of pieces became whole with them.
    pub(super) fn on_read(&mut self, bytes: &[u8]) -> usize {
        let before = self.held();
        let mut frames = std::mem::take(&mut self.read);
        frames.read(bytes, |part| match part {
            Part::Handshake(_) => self.shaken = true,
            Part::Front(0, front, length) => self.on_extensions(front, length),
            Part::Front(id, front, length) if Some(id) == self.ours => {
                self.on_head(front, length);
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
    fn on_head(&mut self, front: &[u8], length: usize) {
        let Some(head) = Head::read(front, length) else { return };
        match head.kind {
            Some(0) => self.requests.push(head.number),
            // The first piece of metadata whose size no handshake named (M1).
            Some(1) if self.size.is_none() && self.due(&head).is_some() => {
                let alone = i64::try_from(head.data).ok();
                let alone = alone.filter(|alone| *alone < PIECE_LEN as i64);
                self.on_size(head.total_size.or(alone));
            }
            Some(2) => self.rejected.extend(head.piece()),
            _ => {}
        }
    }

    /// A metadata message of theirs is here to its last byte.
    fn on_whole(&mut self, front: &[u8], length: usize) {
        let Some(head) = Head::read(front, length).filter(|head| head.kind == Some(1)) else {
            return;
        };
        let due = self.due(&head).filter(|piece| self.piece_len(*piece) == head.data);
        self.received.extend(due);
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

    /// 9.6: so many in one write. M9: what was refused or did not come is asked for again.
    fn on_our_request(&mut self, now: Instant, piece: i64) -> Result<(), String> {
        self.in_write += 1;
        ok(self.in_write <= REQUESTS_AT_ONCE, || format!("{} requests at once", self.in_write))?;
        let count = self.pieces();
        if count == 0 {
            ok(piece == 0 && !self.absurd, || {
                format!("piece {piece} is asked for without an acceptable size")
            })?;
            // Before they name a size, the first piece may be had (M1).
            let again = self.asked.insert(0, Instant::START).is_some();
            return ok(!again, || "a first piece is asked for twice before a size".to_owned());
        }
        let number = usize::try_from(piece).ok().filter(|number| *number < count);
        let number = number.ok_or_else(|| format!("piece {piece} of {count} is asked for"))?;
        let before = self.asked.insert(number, now);
        let refused = self.rejected.remove(&number);
        let again = !refused && before.is_some_and(|before| now < before + PIECE_PATIENCE_MIN);
        ok(!again, || format!("piece {piece} is asked for again"))
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
