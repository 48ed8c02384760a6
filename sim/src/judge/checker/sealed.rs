//! Rule 26: encrypted connections, opened with what the world knows of the peer at the far end.
//! What is said inside is for the other rules.
//!
//! One that cannot be opened, because nobody there takes encryption, the peer has another torrent
//! or departs from the specification, says nothing more: what is written to it is not looked at.

use std::borrow::Cow;

use rc4::{Rc4, StreamCipher};

use super::expected::Seal;
use crate::actors::mse::PAD_MAX;
use crate::actors::mse::keys::{
    KEY_LEN, hash, keystream, prime_less, public, secret, torrent_mark,
};
use crate::world::scenario::Encrypts;

/// What a connection in the clear begins with.
const CLEAR: &[u8] = b"\x13BitTorrent protocol";
/// Bytes of a hash, of the constant, and of a base handshake.
const HASH_LEN: usize = 20;
const CONSTANT_LEN: usize = 8;
const HANDSHAKE_LEN: usize = 68;
/// Bytes of constant, offer and length of a padding; of a selection and length of a padding.
const OFFER_LEN: usize = CONSTANT_LEN + 4 + 2;
const SELECTION_LEN: usize = 4 + 2;

/// How a connection is spoken to.
#[derive(Debug, Default)]
pub(super) enum Line {
    /// Nothing was written yet.
    #[default]
    Silent,
    Clear,
    Sealed(Box<Sealed>),
}

impl Line {
    /// Whether it is encrypted.
    pub(super) fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    /// What was written, as far as it is part of the conversation.
    ///
    /// # Errors
    /// What is wrong about how it is encrypted.
    pub(super) fn written<'a>(
        &mut self,
        bytes: &'a [u8],
        encryption: Encrypts,
        seal: impl FnOnce() -> Option<Seal>,
    ) -> Result<Cow<'a, [u8]>, String> {
        if let Self::Silent = self {
            let is_clear = bytes.starts_with(CLEAR) || CLEAR.starts_with(bytes);
            *self = match (is_clear, encryption) {
                (true, Encrypts::Require) | (false, Encrypts::Off) => {
                    return Err(format!("encryption is {encryption}, and it is not kept to"));
                }
                (true, _) => Self::Clear,
                (false, _) => Self::Sealed(Box::new(Sealed::new(seal(), encryption))),
            };
        }
        match self {
            Self::Silent | Self::Clear => Ok(Cow::Borrowed(bytes)),
            Self::Sealed(sealed) => sealed.written(bytes).map(Cow::Owned),
        }
    }

    /// What was read, as far as it is part of the conversation.
    pub(super) fn read<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::Silent | Self::Clear => Cow::Borrowed(bytes),
            Self::Sealed(sealed) => Cow::Owned(sealed.read(bytes)),
        }
    }
}

/// What is due in the direction of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Key,
    Marks,
    Offer,
    Payload,
}

/// What is due in the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theirs {
    Key,
    Constant,
    Selection,
    Padding { left: usize, is_rc4: bool },
    Payload { is_rc4: bool },
}

/// Both directions of an encrypted connection.
pub(super) struct Sealed {
    /// What opens it; `None` once that is known to be in vain.
    seal: Option<Seal>,
    encryption: Encrypts,
    secret: [u8; KEY_LEN],
    ours: Ours,
    theirs: Theirs,
    /// What was written and read, and not taken yet.
    written: Vec<u8>,
    read: Vec<u8>,
    /// The keystreams of both directions, once the torrent is known to be meant.
    ciphers: Option<(Rc4, Rc4)>,
    /// The constant, as it looks enciphered.
    constant: [u8; CONSTANT_LEN],
}

impl Sealed {
    fn new(seal: Option<Seal>, encryption: Encrypts) -> Self {
        Self {
            seal,
            encryption,
            secret: [0; KEY_LEN],
            ours: Ours::Key,
            theirs: Theirs::Key,
            written: Vec::new(),
            read: Vec::new(),
            ciphers: None,
            constant: [0; CONSTANT_LEN],
        }
    }

    /// Nothing of it can be told any more.
    fn give_up(&mut self) -> Vec<u8> {
        (self.seal, self.ciphers) = (None, None);
        (self.written, self.read) = (Vec::new(), Vec::new());
        Vec::new()
    }

    fn written(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let Some(seal) = self.seal else { return Ok(Vec::new()) };
        self.written.extend_from_slice(bytes);
        if self.ours == Ours::Key && self.written.len() >= KEY_LEN {
            self.secret = secret(&self.written[..KEY_LEN], &seal.private);
            self.written.drain(..KEY_LEN);
            self.ours = Ours::Marks;
        }
        if self.ours == Ours::Marks && !self.find_marks(&seal)? {
            return Ok(Vec::new());
        }
        match (&mut self.ciphers, self.ours, self.theirs) {
            (Some((sends, _)), Ours::Offer, _) => {
                let mut opened = std::mem::take(&mut self.written);
                sends.apply_keystream(&mut opened);
                self.ours = Ours::Payload;
                read_offer(&opened, self.encryption).map(<[u8]>::to_vec)
            }
            (Some(_), Ours::Payload, Theirs::Payload { is_rc4: false })
                if self.encryption == Encrypts::Require =>
            {
                Err("payload in the clear where encryption is required".to_owned())
            }
            (Some((sends, _)), Ours::Payload, Theirs::Payload { is_rc4 }) => {
                let mut opened = std::mem::take(&mut self.written);
                if is_rc4 {
                    sends.apply_keystream(&mut opened);
                }
                Ok(opened)
            }
            (Some(_), Ours::Payload, _) => Err("payload before the peer selected a way".to_owned()),
            _ => Ok(Vec::new()),
        }
    }

    /// Looks for the marks of secret and torrent, which follow the peer's key in one write with
    /// the offer; whether they are there.
    fn find_marks(&mut self, seal: &Seal) -> Result<bool, String> {
        let answered = self.theirs != Theirs::Key;
        let mark = hash(&[b"req1", &self.secret]);
        let mut windows = self.written.windows(HASH_LEN).take(PAD_MAX + 1);
        let Some(padding) = windows.position(|bytes| bytes == mark) else {
            return match (answered, self.written.len() > PAD_MAX) {
                (true, _) => Err("no mark of the secret after the peer's key".to_owned()),
                (false, true) => Err("more than the longest padding after our key".to_owned()),
                (false, false) => Ok(false),
            };
        };
        if !answered {
            return Err("a mark of the secret before the peer's key".to_owned());
        }
        let torrent = self.written.get(padding + HASH_LEN..padding + 2 * HASH_LEN);
        if torrent != Some(&torrent_mark(&self.secret, seal.torrent)[..]) {
            self.give_up();
            return Ok(false);
        }
        self.written.drain(..padding + 2 * HASH_LEN);
        let mut hears = keystream(b"keyB", &self.secret, seal.torrent);
        hears.apply_keystream(&mut self.constant);
        self.ciphers = Some((keystream(b"keyA", &self.secret, seal.torrent), hears));
        self.ours = Ours::Offer;
        Ok(true)
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.seal.is_none() {
            return Vec::new();
        }
        self.read.extend_from_slice(bytes);
        loop {
            let before = self.theirs;
            match before {
                Theirs::Key if self.read.len() >= KEY_LEN => {
                    if self.is_damaged() {
                        return self.give_up();
                    }
                    self.read.drain(..KEY_LEN);
                    self.theirs = Theirs::Constant;
                }
                Theirs::Constant => {
                    let mut windows = self.read.windows(CONSTANT_LEN).take(PAD_MAX + 1);
                    // Before the marks are written it is not known how the constant looks.
                    if self.ciphers.is_some()
                        && let Some(padding) = windows.position(|bytes| bytes == self.constant)
                    {
                        self.read.drain(..padding + CONSTANT_LEN);
                        self.theirs = Theirs::Selection;
                    }
                }
                Theirs::Selection if self.read.len() >= SELECTION_LEN => {
                    let selection = self.opened(SELECTION_LEN);
                    let left = usize::from(u16::from_be_bytes([selection[4], selection[5]]));
                    if left > PAD_MAX || !matches!(selection[..4], [0, 0, 0, 1..=3]) {
                        return self.give_up();
                    }
                    self.theirs = Theirs::Padding { left, is_rc4: selection[3] == 2 };
                }
                Theirs::Padding { left, is_rc4 } => {
                    let here = left.min(self.read.len());
                    self.opened(here);
                    self.theirs = match left - here {
                        0 => Theirs::Payload { is_rc4 },
                        left => Theirs::Padding { left, is_rc4 },
                    };
                }
                Theirs::Payload { is_rc4: true } => return self.opened(self.read.len()),
                Theirs::Payload { is_rc4: false } => return std::mem::take(&mut self.read),
                Theirs::Key | Theirs::Selection => {}
            }
            if self.theirs == before {
                return Vec::new();
            }
        }
    }

    /// Whether the key that was read is not the peer's, and yet one that is to be accepted: a byte
    /// of a datagram was changed on the way, and both ends have another secret.
    fn is_damaged(&self) -> bool {
        let (key, least) = (&self.read[..KEY_LEN], [[0; KEY_LEN - 1].as_slice(), &[2]].concat());
        let is_proper = (least.as_slice()..=prime_less(2).as_slice()).contains(&key);
        is_proper && self.seal.is_some_and(|seal| key != public(&seal.private))
    }

    /// The next bytes of the peer, deciphered.
    fn opened(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.read.drain(..len).collect();
        if let Some((_, hears)) = &mut self.ciphers {
            hears.apply_keystream(&mut bytes);
        }
        bytes
    }
}

/// The first message, behind the offer that it goes out with.
fn read_offer(opened: &[u8], encryption: Encrypts) -> Result<&[u8], String> {
    let short = || "an offer that is cut short".to_owned();
    let (head, rest) = opened.split_at_checked(OFFER_LEN).ok_or_else(short)?;
    if head[..CONSTANT_LEN] != [0; CONSTANT_LEN] {
        return Err("no constant behind the marks".to_owned());
    }
    // RC4, and the clear as well unless that is not to be.
    let ways = if encryption == Encrypts::Require { 2 } else { 3 };
    if head[CONSTANT_LEN..CONSTANT_LEN + 4] != [0, 0, 0, ways] {
        return Err(format!("an offer of {:?}", &head[CONSTANT_LEN..CONSTANT_LEN + 4]));
    }
    let padding = usize::from(u16::from_be_bytes([head[OFFER_LEN - 2], head[OFFER_LEN - 1]]));
    if padding > PAD_MAX {
        return Err(format!("{padding} bytes of padding behind the offer"));
    }
    let (_, rest) = rest.split_at_checked(padding).ok_or_else(short)?;
    let (len, first) = rest.split_at_checked(2).ok_or_else(short)?;
    let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
    if len != HANDSHAKE_LEN || first.len() != len {
        return Err(format!("{} bytes of a first message of {len}", first.len()));
    }
    Ok(first)
}

/// Shows nothing of the keys.
impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ours, theirs, .. } = self;
        f.debug_struct("Sealed").field("ours", ours).field("theirs", theirs).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use estudely_core::InfoHash;

    use super::*;

    const SEAL: Seal = Seal { private: [7; 20], torrent: InfoHash([3; 20]) };

    /// What is said of a line on which we send a key, hear `theirs`, and send no mark after it.
    fn without_a_mark(theirs: [u8; KEY_LEN]) -> Result<(), String> {
        let mut line = Line::default();
        let ours = public(&[9; 20]);
        let begun = line.written(&ours, Encrypts::Auto, || Some(SEAL));
        assert_eq!(begun.as_deref(), Ok([].as_slice()));
        assert!(line.read(&theirs).is_empty());
        line.written(&[0x55; 100], Encrypts::Auto, || Some(SEAL)).map(drop)
    }

    #[test]
    fn after_the_peers_key_comes_the_mark_of_the_secret() {
        let missing = Err("no mark of the secret after the peer's key".to_owned());
        assert_eq!(without_a_mark(public(&SEAL.private)), missing);
        // A key that must be refused is answered by nothing.
        for degenerate in [[0; KEY_LEN], prime_less(1), prime_less(0), [0xff; KEY_LEN]] {
            assert_eq!(without_a_mark(degenerate), missing);
        }
    }

    #[test]
    fn a_line_whose_key_was_changed_on_the_way_is_not_looked_at() {
        let mut damaged = public(&SEAL.private);
        damaged[KEY_LEN / 2] ^= 0x10;
        assert_eq!(without_a_mark(damaged), Ok(()));
    }
}
