//! The exchange of keys as the accepting end has it, and what it passes on afterwards.

use std::fmt;

use estudely_core::{Duration, InfoHash, Instant};
use rc4::{Rc4, StreamCipher};

use super::keys::{
    KEY_LEN, PRIVATE_LEN, hash, keystream, prime_less, public, secret, torrent_mark,
};
use super::{MseVice, PAD_MAX, Selects, Terms};
use crate::actors::peer::Step;

/// What a dialler begins with that does not encrypt.
const CLEAR: &[u8; 20] = b"\x13BitTorrent protocol";
/// Bytes of each of the hashes in the third step.
const HASH_LEN: usize = 20;
/// Within so many bytes the first hash must be found.
const MARK_END_MAX: usize = KEY_LEN + PAD_MAX + HASH_LEN;
/// Bytes of the constant, of the offer, and of the length of a padding.
const OFFER_LEN: usize = 8 + 4 + 2;
/// Longest first message that is taken with the offer.
const OPENING_MAX: usize = 68;
/// The two ways to go on, as bits.
const PLAINTEXT: u32 = 1;
const RC4: u32 = 2;
/// Bytes of padding without end that are said at once, and how often.
const PADDING_STEP: usize = 64;
const PADDING_EVERY: Duration = Duration::from_millis(500);

/// What is due from the dialler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its public key.
    Key,
    /// The hash that ends its padding, then the one that names the torrent.
    Mark,
    /// The constant, its offer, and the length of its padding.
    Offer,
    /// That padding, and the length of its first message.
    Padding { len: usize, provided: u32 },
    /// That message.
    Opening { len: usize, provided: u32 },
    /// Payload.
    Payload,
    /// Nothing that matters.
    Mute,
}

/// The accepting end of one exchange of keys.
pub(super) struct Guard {
    torrent: InfoHash,
    private: [u8; PRIVATE_LEN],
    terms: Terms,
    draw: fastrand::Rng,
    stage: Stage,
    /// What came and is not used yet.
    pending: Vec<u8>,
    secret: [u8; KEY_LEN],
    /// The keystreams of what is heard and said.
    ciphers: Option<(Rc4, Rc4)>,
    /// When the next part of an endless padding is due.
    next: Option<Instant>,
}

impl Guard {
    /// Of a peer with this torrent and private key. The paddings are drawn.
    pub(super) fn new(
        torrent: InfoHash,
        private: [u8; PRIVATE_LEN],
        terms: Terms,
        draw: fastrand::Rng,
    ) -> Self {
        Self {
            torrent,
            private,
            terms,
            draw,
            stage: Stage::Key,
            pending: Vec::new(),
            secret: [0; KEY_LEN],
            ciphers: None,
            next: None,
        }
    }

    /// Whether payload may be exchanged.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Payload
    }

    /// Takes what came, appends what is to be said, and returns the payload that it holds.
    ///
    /// # Errors
    /// How the connection ends where the dialler does not keep to the specification, or means
    /// another torrent.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Vec<u8>, Step> {
        if self.stage == Stage::Mute {
            return Ok(Vec::new());
        }
        self.pending.extend_from_slice(input);
        let mut payload = Vec::new();
        loop {
            let before = self.stage;
            match before {
                Stage::Key => self.on_key(now, out)?,
                Stage::Mark => self.on_mark()?,
                Stage::Offer => self.on_offer()?,
                Stage::Padding { len, provided } => self.on_padding(len, provided)?,
                Stage::Opening { len, provided } => {
                    payload.extend(self.on_opening(len, provided, out)?);
                }
                Stage::Payload => {
                    let mut rest = std::mem::take(&mut self.pending);
                    if let Some((hears, _)) = &mut self.ciphers {
                        hears.apply_keystream(&mut rest);
                    }
                    payload.append(&mut rest);
                    return Ok(payload);
                }
                Stage::Mute => return Ok(payload),
            }
            if self.stage == before {
                return Ok(payload);
            }
        }
    }

    /// Enciphers what is said behind the exchange of keys, if it is to be.
    pub(super) fn seal(&mut self, said: &mut [u8]) {
        if let Some((_, says)) = &mut self.ciphers {
            says.apply_keystream(said);
        }
    }

    /// When [`Guard::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Goes on with padding that has no end.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.next.is_some_and(|at| at <= now) {
            self.pad(PADDING_STEP, out);
            self.next = Some(now + PADDING_EVERY);
        }
    }

    fn pad(&mut self, len: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + len, 0);
        self.draw.fill(&mut out[start..]);
    }

    /// Answers the dialler's key with ours.
    fn on_key(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), Step> {
        if self.pending.starts_with(CLEAR) {
            return Err(Step::Close);
        }
        if self.pending.len() < KEY_LEN {
            return Ok(());
        }
        self.secret = secret(&self.pending[..KEY_LEN], &self.private);
        if self.terms.vice == Some(MseVice::DegenerateKey) {
            out.extend_from_slice(&self.degenerate());
            self.stage = Stage::Mute;
            return Ok(());
        }
        out.extend_from_slice(&public(&self.private));
        let padding = match self.terms.vice {
            Some(MseVice::EndlessPadding) => {
                self.next = Some(now + PADDING_EVERY);
                PADDING_STEP
            }
            Some(MseVice::NoConstant) => PAD_MAX + 8,
            Some(MseVice::MuteAfterKey) => 0,
            _ => {
                self.stage = Stage::Mark;
                self.terms.pad_b
            }
        };
        self.pad(padding, out);
        if self.stage == Stage::Key {
            self.stage = Stage::Mute;
        }
        Ok(())
    }

    /// One of the keys outside 2 to P - 2.
    fn degenerate(&mut self) -> [u8; KEY_LEN] {
        let mut one = [0; KEY_LEN];
        one[KEY_LEN - 1] = 1;
        let keys = [[0; KEY_LEN], one, prime_less(1), prime_less(0), [0xff; KEY_LEN]];
        keys[self.draw.usize(..keys.len())]
    }

    fn on_mark(&mut self) -> Result<(), Step> {
        let mark = hash(&[b"req1", &self.secret]);
        let windows = self.pending[KEY_LEN..].windows(HASH_LEN).take(PAD_MAX + 1);
        let Some(padding) = windows.enumerate().find(|(_, bytes)| *bytes == mark) else {
            let over = self.pending.len() >= MARK_END_MAX;
            return if over { Err(Step::Close) } else { Ok(()) };
        };
        let end = KEY_LEN + padding.0 + HASH_LEN;
        let Some(torrent) = self.pending.get(end..end + HASH_LEN) else { return Ok(()) };
        if torrent != torrent_mark(&self.secret, self.torrent) {
            return Err(Step::Close);
        }
        self.pending.drain(..end + HASH_LEN);
        let stream = |name| keystream(name, &self.secret, self.torrent);
        self.ciphers = Some((stream(b"keyA"), stream(b"keyB")));
        self.stage = Stage::Offer;
        Ok(())
    }

    /// The next bytes of the dialler, deciphered, once they are all here.
    fn opened(&mut self, len: usize) -> Option<Vec<u8>> {
        let (hears, _) = self.ciphers.as_mut().filter(|_| self.pending.len() >= len)?;
        let mut bytes: Vec<u8> = self.pending.drain(..len).collect();
        hears.apply_keystream(&mut bytes);
        Some(bytes)
    }

    fn on_offer(&mut self) -> Result<(), Step> {
        let Some(offer) = self.opened(OFFER_LEN) else { return Ok(()) };
        let len = usize::from(u16::from_be_bytes([offer[12], offer[13]]));
        if offer[..8] != [0; 8] || len > PAD_MAX {
            return Err(Step::Close);
        }
        let provided = u32::from_be_bytes([offer[8], offer[9], offer[10], offer[11]]);
        self.stage = Stage::Padding { len, provided };
        Ok(())
    }

    fn on_padding(&mut self, len: usize, provided: u32) -> Result<(), Step> {
        let Some(bytes) = self.opened(len + 2) else { return Ok(()) };
        let len = usize::from(u16::from_be_bytes([bytes[len], bytes[len + 1]]));
        if len > OPENING_MAX {
            return Err(Step::Close);
        }
        self.stage = Stage::Opening { len, provided };
        Ok(())
    }

    /// Selects a way to go on, and returns the dialler's first message.
    fn on_opening(
        &mut self,
        len: usize,
        provided: u32,
        out: &mut Vec<u8>,
    ) -> Result<Vec<u8>, Step> {
        let Some(opening) = self.opened(len) else { return Ok(Vec::new()) };
        let wanted = match self.terms.selects {
            Selects::Plaintext => PLAINTEXT,
            Selects::Rc4 => RC4,
        };
        let selected = match self.terms.vice {
            Some(MseVice::BothBits) => PLAINTEXT | RC4,
            Some(MseVice::NoBits) => 4 * self.draw.u32(0..2),
            _ if provided & wanted == 0 => return Err(Step::Close),
            _ => wanted,
        };
        let announced = match self.terms.vice {
            Some(MseVice::LongPadding) => self.draw.usize(PAD_MAX + 1..=0xffff),
            _ => self.terms.pad_d,
        };
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&selected.to_be_bytes());
        out.extend_from_slice(&(announced as u16).to_be_bytes());
        self.pad(self.terms.pad_d, out);
        self.seal(&mut out[start..]);
        if selected != RC4 {
            self.ciphers = None;
        }
        self.stage = Stage::Payload;
        Ok(opening)
    }
}

/// Shows nothing of the keys.
impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { terms, stage, .. } = self;
        f.debug_struct("Guard").field("terms", terms).field("stage", stage).finish_non_exhaustive()
    }
}
