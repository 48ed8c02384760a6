//! Message stream encryption (MSE, also called PE) as the side that connects: a filter between the
//! byte stream and the conversation with the peer (2.1 to 2.11).
//!
//! Many clients accept no other connection. The filter exchanges keys, offers what may follow, and
//! then either enciphers and deciphers every byte with RC4 or passes it on as it is. It hides the
//! protocol from filters on the way; it proves nothing about the peer, and RC4 is no protection
//! against anybody who tries.
//!
//! # Contract
//!
//! [`Filter::begin`] once the stream is connected: only then a key pair is made (2.11). What arrives
//! goes to [`Filter::receive`], which consumes the key exchange and returns what lies behind it;
//! that, and all that follows, goes through [`Filter::open`], and what is written through
//! [`Filter::seal`], each byte once and in order.
//!
//! - However the input is split, the same bytes are written at the same byte of it, and it ends with
//!   the same fault.
//! - Nothing is allocated. What a peer sends before its payload is at most a key, two paddings and
//!   14 bytes; the first byte that cannot belong to them is a fault.
//! - There is no clock here: the conversation's deadline bounds the key exchange (H26).
//! - The first message of the conversation goes out with the offer, as its `IA` (2.5), and never
//!   before the peer's key is here (2.10).

mod keys;
mod cipher;

use self::cipher::Ciphers;
use self::keys::{KEY_LEN, KeyPair, Secret};
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::rng::Rng;
use crate::codec::wire::HANDSHAKE_LEN;
use crate::limits::{MSE_PAD_MAX, MSE_VC_END_MAX};

/// Bytes of the verification constant, all zero before they are enciphered (2.2).
const VC_LEN: usize = 8;
/// Bytes of what is selected and of the length of PadD (2.3).
const SELECT_LEN: usize = 4;
const SELECTION_LEN: usize = SELECT_LEN + 2;
/// The two ways to go on, as bits of an offer and of a selection (2.2).
const PLAINTEXT: u32 = 1;
const RC4: u32 = 2;

const _: () = {
    assert!(MSE_VC_END_MAX == KEY_LEN + MSE_PAD_MAX + VC_LEN);
    assert!(SELECTION_LEN <= KEY_LEN);
    // Lengths of paddings and of the first message are written in 16 bits.
    assert!(MSE_PAD_MAX <= u16::MAX as usize);
    assert!(HANDSHAKE_LEN <= u16::MAX as usize);
};

/// What an encrypted connection offers the peer (2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encryption {
    /// RC4 or plaintext behind the key exchange, whichever the peer selects: reaches most peers.
    Either,
    /// RC4 to the end. A peer that selects anything else is left.
    Required,
}

impl Encryption {
    /// The bits of the offer.
    const fn provided(self) -> u32 {
        match self {
            Self::Either => PLAINTEXT | RC4,
            Self::Required => RC4,
        }
    }

    /// What the bits of a selection mean: `None` if they are not to be accepted. Of both bits the
    /// plaintext one counts, as with libtorrent; where RC4 is required nothing but RC4 does (2.7).
    const fn mode(self, selected: u32) -> Option<Mode> {
        match (self, selected & self.provided()) {
            (Self::Required, RC4) if selected == RC4 => Some(Mode::Rc4),
            (Self::Either, RC4) => Some(Mode::Rc4),
            (Self::Either, PLAINTEXT | 3) => Some(Mode::Plaintext),
            _ => None,
        }
    }
}

/// How the payload travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Plaintext,
    Rc4,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The connection.
    Idle,
    /// The peer's public key.
    WaitY,
    /// The verification constant, as it looks enciphered, somewhere behind PadB. The last eight
    /// bytes are kept, and how many came.
    FindVc { expected: u64, window: u64, seen: usize },
    /// What the peer selects, and how long its padding is.
    Select,
    /// The rest of PadD.
    PadD { left: usize, mode: Mode },
    /// Nothing: payload follows.
    Done,
}

/// The filter of one connection; see the module's contract.
#[derive(Clone, Debug)]
pub struct Filter {
    hash: InfoHash,
    encryption: Encryption,
    /// What goes out with the offer.
    opening: [u8; HANDSHAKE_LEN],
    rng: Rng,
    state: State,
    /// Present from the connection to the peer's key.
    pair: Option<KeyPair>,
    /// Present from there on, and to the end if RC4 was selected.
    ciphers: Option<Ciphers>,
    /// What is being read, as far as it is here: the peer's key, then its selection.
    head: [u8; KEY_LEN],
    filled: usize,
}

impl Filter {
    /// A filter for a connection about `hash`, which the peer must know (2.7). `opening` is the first
    /// message to it; `rng` makes the key pair and the paddings.
    pub fn new(
        hash: InfoHash,
        encryption: Encryption,
        opening: [u8; HANDSHAKE_LEN],
        rng: Rng,
    ) -> Self {
        Self {
            hash,
            encryption,
            opening,
            rng,
            state: State::Idle,
            pair: None,
            ciphers: None,
            head: [0; KEY_LEN],
            filled: 0,
        }
    }

    /// The stream is connected: makes the key pair and appends its public key and PadA.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Idle {
            let pair = KeyPair::new(self.rng.bytes());
            out.extend_from_slice(pair.public());
            self.pad(out);
            self.pair = Some(pair);
            self.state = State::WaitY;
        }
    }

    /// Whether the key exchange is over and payload follows.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether payload passes as it is. Says nothing before [`Filter::is_done`].
    pub fn is_plaintext(&self) -> bool {
        self.ciphers.is_none()
    }

    /// Takes the next bytes of the key exchange and appends what is to be written. Returns what
    /// follows behind it: nothing until [`Filter::is_done`].
    ///
    /// # Errors
    /// [`PeerFault::BadKey`], [`PeerFault::NoVc`], [`PeerFault::BadSelect`] or
    /// [`PeerFault::BadPad`]; the filter must not be used again.
    pub fn receive<'a>(
        &mut self,
        mut input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], PeerFault> {
        while !input.is_empty() {
            input = match self.state {
                State::Idle => return Ok(&[]),
                State::WaitY => self.wait_key(input, out)?,
                State::FindVc { expected, window, seen } => {
                    self.find_vc(input, expected, (window, seen))?
                }
                State::Select => self.read_selection(input)?,
                State::PadD { left, mode } => self.skip_pad(input, left, mode),
                State::Done => return Ok(input),
            };
        }
        Ok(input)
    }

    /// Deciphers payload that arrived.
    pub fn open(&mut self, payload: &[u8], opened: &mut [u8]) {
        match &mut self.ciphers {
            Some(ciphers) => ciphers.hears.apply_to(payload, opened),
            None => opened.copy_from_slice(payload),
        }
    }

    /// Enciphers payload that is to be written.
    pub fn seal(&mut self, payload: &mut [u8]) {
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.sends.apply(payload);
        }
    }

    /// Appends 0 to 512 random bytes (2.2); how many.
    fn pad(&mut self, out: &mut Vec<u8>) -> u16 {
        let len = self.rng.below(MSE_PAD_MAX as u64 + 1);
        let start = out.len();
        out.resize(start + len as usize, 0);
        self.rng.fill(&mut out[start..]);
        len as u16
    }

    /// Moves input into the head until `need` bytes are there; what is left of the input.
    fn fill_head<'a>(&mut self, need: usize, input: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = input.split_at(input.len().min(need.saturating_sub(self.filled)));
        self.head[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        rest
    }

    fn wait_key<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], PeerFault> {
        let rest = self.fill_head(KEY_LEN, input);
        if self.filled == KEY_LEN {
            let pair = self.pair.take().ok_or(PeerFault::BadKey)?;
            let secret = pair.agree(&self.head).ok_or(PeerFault::BadKey)?;
            let mut ciphers = Ciphers::new(&secret, self.hash);
            self.offer(&secret, &mut ciphers, out);
            // What is looked for is known, so nothing is deciphered before it is found (2.6).
            let mut constant = [0; VC_LEN];
            ciphers.hears.apply(&mut constant);
            let expected = u64::from_be_bytes(constant);
            self.ciphers = Some(ciphers);
            self.filled = 0;
            self.state = State::FindVc { expected, window: 0, seen: 0 };
        }
        Ok(rest)
    }

    /// Appends step 3: that we know secret and infohash, what we offer, and the first message.
    fn offer(&mut self, secret: &Secret, ciphers: &mut Ciphers, out: &mut Vec<u8>) {
        out.extend_from_slice(&secret.synchronisation());
        out.extend_from_slice(&secret.torrent_mark(self.hash));
        let sealed = out.len();
        out.extend_from_slice(&[0; VC_LEN]);
        out.extend_from_slice(&self.encryption.provided().to_be_bytes());
        let length = out.len();
        out.extend_from_slice(&[0; 2]);
        let padding = self.pad(out);
        out[length..length + 2].copy_from_slice(&padding.to_be_bytes());
        out.extend_from_slice(&(HANDSHAKE_LEN as u16).to_be_bytes());
        out.extend_from_slice(&self.opening);
        ciphers.sends.apply(&mut out[sealed..]);
    }

    /// Looks for the constant behind at most 512 bytes of PadB.
    fn find_vc<'a>(
        &mut self,
        input: &'a [u8],
        expected: u64,
        (mut window, before): (u64, usize),
    ) -> Result<&'a [u8], PeerFault> {
        for (seen, byte) in (before + 1..).zip(input) {
            window = window << 8 | u64::from(*byte);
            if seen >= VC_LEN && window == expected {
                self.state = State::Select;
                return Ok(&input[seen - before..]);
            }
            if seen == MSE_VC_END_MAX - KEY_LEN {
                return Err(PeerFault::NoVc);
            }
        }
        self.state = State::FindVc { expected, window, seen: before + input.len() };
        Ok(&[])
    }

    /// Each of the two fields is judged with its last byte.
    fn read_selection<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], PeerFault> {
        let start = self.filled;
        let need = if start < SELECT_LEN { SELECT_LEN } else { SELECTION_LEN };
        let rest = self.fill_head(need, input);
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.hears.apply(&mut self.head[start..self.filled]);
        }
        if self.filled < SELECT_LEN {
            return Ok(rest);
        }
        let [a, b, c, d, e, f, ..] = self.head;
        let selected = self.encryption.mode(u32::from_be_bytes([a, b, c, d]));
        let mode = selected.ok_or(PeerFault::BadSelect)?;
        if self.filled == SELECTION_LEN {
            let left = usize::from(u16::from_be_bytes([e, f]));
            if left > MSE_PAD_MAX {
                return Err(PeerFault::BadPad);
            }
            self.pass_pad(left, mode);
        }
        Ok(rest)
    }

    fn skip_pad<'a>(&mut self, input: &'a [u8], left: usize, mode: Mode) -> &'a [u8] {
        let skipped = input.len().min(left);
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.hears.skip(skipped);
        }
        self.pass_pad(left - skipped, mode);
        &input[skipped..]
    }

    /// So much of PadD is left.
    fn pass_pad(&mut self, left: usize, mode: Mode) {
        if left > 0 {
            self.state = State::PadD { left, mode };
            return;
        }
        if mode == Mode::Plaintext {
            self.ciphers = None;
        }
        self.state = State::Done;
    }
}

#[cfg(test)]
pub(in crate::peer) mod tests;
