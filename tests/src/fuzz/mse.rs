//! The exchange of keys with a peer: whatever answers ours, in whatever parts, leads to the same
//! words and the same end, and that is the end which a naive reading of the answer predicts.
//!
//! The peer's private key is 1, so its public one is 2 and the secret is our public key: hashes and
//! RC4, written here once more, are all that is needed to answer.

use estudely_core::internal::mse::{Encryption, Filter};
use estudely_core::internal::rng::Rng;
use estudely_core::{InfoHash, PeerFault, Seed};

use super::input::{Input, split};

const TORRENT: InfoHash = InfoHash(*b"mnopqrstuvwxyz123456");
/// What goes out with our offer, and what we say once the keys are exchanged.
const OPENING: [u8; 68] = [0x13; 68];
const REPLY: &[u8] = b"and this is what we have to say";
const KEY_LEN: usize = 96;
const PAD_MAX: usize = 512;
/// Most that we say: key and padding; two hashes, constant, offer, lengths, padding, first message.
const SAID_MAX: usize = KEY_LEN + PAD_MAX + 20 + 20 + 8 + 4 + 2 + PAD_MAX + 2 + OPENING.len();
/// The modulus, less 2: the highest key that may be accepted.
const HIGHEST: &str = "\
    ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
    020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
    4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090561";

/// One exchange of keys. The first bytes of the input say how the peer answers: bits (1 RC4 is
/// required, 2 the peer's key is the next 96 bytes, 4 the stream ends early, 8 something else
/// follows the key), what is selected, both paddings, where the stream ends, and where it is cut;
/// the rest is payload, or what follows the key.
pub(super) fn mse(data: &[u8]) {
    let mut input = Input(data);
    let how = How::of(&mut input);
    let cuts: Vec<usize> = (0..4).map(|_| usize::from(input.u8()) + 1).collect();
    let stream = how.stream(input.0);
    let whole = how.run(std::iter::once(&stream[..]));
    assert_eq!(how.run(split(&stream, &cuts)), whole, "splitting changes nothing");
    assert_eq!(how.run(split(&stream, &[1])), whole, "not even byte by byte");
    assert!(whole.said.len() <= SAID_MAX + REPLY.len());
    how.judge(&whole, &stream, input.0);
}

struct How {
    encryption: Encryption,
    key: [u8; KEY_LEN],
    is_own_key: bool,
    ends_at: Option<usize>,
    /// Something else follows the key.
    is_noise: bool,
    select: u32,
    pad_b: usize,
    /// As it is announced; as long as it is up to a limit.
    pad_d: usize,
}

/// What a stream led to.
#[derive(Debug, PartialEq, Eq)]
struct End {
    said: Vec<u8>,
    opened: Vec<u8>,
    /// How the exchange of keys ended, if it did.
    result: Option<Result<(), PeerFault>>,
}

impl How {
    fn of(input: &mut Input<'_>) -> Self {
        let bits = input.u8();
        let is_own_key = bits & 2 != 0;
        let mut key = if is_own_key { input.bytes() } else { [0; KEY_LEN] };
        if !is_own_key {
            key[KEY_LEN - 1] = 2;
        }
        let select = input.u8();
        let (pad_b, pad_d, ends_at) = (input.u16(), input.u16(), input.u16());
        Self {
            encryption: if bits & 1 == 0 { Encryption::Either } else { Encryption::Required },
            key,
            is_own_key,
            ends_at: (bits & 4 != 0).then_some(ends_at.into()),
            is_noise: bits & 8 != 0,
            // Of the bits that mean nothing one is enough.
            select: u32::from(select & 7) | u32::from(select >> 7) << 31,
            pad_b: usize::from(pad_b) % 600,
            pad_d: pad_d.into(),
        }
    }

    fn filter(&self) -> Filter {
        Filter::new(TORRENT, self.encryption, OPENING, Rng::new(Seed::from_u64(1)))
    }

    /// The secret, if the peer has its usual key.
    fn secret(&self) -> Vec<u8> {
        let mut said = Vec::new();
        self.filter().begin(&mut said);
        said.truncate(KEY_LEN);
        said
    }

    fn stream(&self, rest: &[u8]) -> Vec<u8> {
        let mut stream = self.key.to_vec();
        if self.is_noise {
            stream.extend_from_slice(rest);
        } else {
            stream.resize(KEY_LEN + self.pad_b, 0xb5);
            let mut sealed = vec![0; 8];
            sealed.extend_from_slice(&self.select.to_be_bytes());
            sealed.extend_from_slice(&(self.pad_d as u16).to_be_bytes());
            sealed.resize(sealed.len() + self.pad_d.min(PAD_MAX + 8), 0xd5);
            let clear = if self.is_rc4() { &[][..] } else { rest };
            if self.is_rc4() {
                sealed.extend_from_slice(rest);
            }
            Rc4::new(b"keyB", &self.secret()).apply(&mut sealed);
            stream.extend_from_slice(&sealed);
            stream.extend_from_slice(clear);
        }
        stream.truncate(self.ends_at.unwrap_or(usize::MAX));
        stream
    }

    fn run<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> End {
        let mut filter = self.filter();
        let mut end = End { said: Vec::new(), opened: Vec::new(), result: None };
        filter.begin(&mut end.said);
        for part in parts {
            match filter.receive(part, &mut end.said) {
                Ok(payload) => {
                    let start = end.opened.len();
                    end.opened.resize(start + payload.len(), 0);
                    filter.open(payload, &mut end.opened[start..]);
                }
                Err(fault) => return End { result: Some(Err(fault)), ..end },
            }
        }
        if filter.is_done() {
            end.result = Some(Ok(()));
            let start = end.said.len();
            end.said.extend_from_slice(REPLY);
            filter.seal(&mut end.said[start..]);
        }
        end
    }

    fn judge(&self, end: &End, stream: &[u8], rest: &[u8]) {
        let (low, high) = ([&[0; 95][..], &[2]].concat(), from_hex(HIGHEST));
        if stream.get(..KEY_LEN).is_some_and(|key| key < &low[..] || key > &high[..]) {
            return assert_eq!(end.result, Some(Err(PeerFault::BadKey)));
        }
        if self.is_noise || self.is_own_key {
            // What the peer says has nothing to do with the secret.
            let over = stream.len() >= KEY_LEN + PAD_MAX + 8;
            return assert_eq!(end.result, over.then_some(Err(PeerFault::NoVc)));
        }
        let selection = KEY_LEN + self.pad_b + 8;
        let (expected, at) = if self.pad_b > PAD_MAX {
            (Err(PeerFault::NoVc), KEY_LEN + PAD_MAX + 8)
        } else if !self.accepts() {
            (Err(PeerFault::BadSelect), selection + 4)
        } else if self.pad_d > PAD_MAX {
            (Err(PeerFault::BadPad), selection + 6)
        } else {
            (Ok(()), selection + 6 + self.pad_d)
        };
        assert_eq!(end.result, (stream.len() >= at).then_some(expected));
        if end.result == Some(Ok(())) {
            assert!(end.opened[..] == rest[..stream.len() - at], "every byte arrives");
            self.read(&end.said);
        } else {
            assert!(end.opened.is_empty());
        }
    }

    /// Whether the payload is enciphered: of two bits plaintext counts.
    fn is_rc4(&self) -> bool {
        self.select & 3 == 2
    }

    fn accepts(&self) -> bool {
        match self.encryption {
            Encryption::Either => self.select & 3 != 0,
            Encryption::Required => self.select == 2,
        }
    }

    /// All that we said can be read by who knows the secret.
    fn read(&self, said: &[u8]) {
        let secret = self.secret();
        let mark = sha1(&[b"req1", &secret]);
        let padding = said[KEY_LEN..].windows(20).position(|bytes| bytes == mark);
        let padding = padding.expect("the end of the padding is marked");
        let (marks, sealed) = said[KEY_LEN + padding..].split_at(40);
        let other = sha1(&[b"req3", &secret]);
        let torrent: Vec<u8> = marks[20..].iter().zip(other).map(|(a, b)| a ^ b).collect();
        assert!(padding <= PAD_MAX && torrent == sha1(&[b"req2", &TORRENT.0]));
        let mut opened = sealed.to_vec();
        Rc4::new(b"keyA", &secret).apply(&mut opened);
        let provided = if self.encryption == Encryption::Required { 2 } else { 3 };
        assert_eq!(opened[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, provided]);
        let padding = usize::from(u16::from_be_bytes([opened[12], opened[13]]));
        assert!(padding <= PAD_MAX);
        assert_eq!(opened[14 + padding..][..2], [0, 68]);
        assert_eq!(opened[16 + padding..][..68], OPENING);
        let reply = if self.is_rc4() { &opened } else { sealed };
        assert_eq!(&reply[16 + padding + 68..], REPLY);
    }
}

/// The cipher as its authors wrote it down.
struct Rc4 {
    state: Vec<u8>,
    i: u8,
    j: u8,
}

impl Rc4 {
    fn new(name: &[u8], secret: &[u8]) -> Self {
        let key = sha1(&[name, secret, &TORRENT.0]);
        let mut state: Vec<u8> = (0..=255).collect();
        let mut j = 0_u8;
        for i in 0..256 {
            j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
            state.swap(i, j.into());
        }
        let mut rc4 = Self { state, i: 0, j: 0 };
        rc4.apply(&mut [0; 1024]);
        rc4
    }

    fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            let here = self.state[usize::from(self.i)];
            self.j = self.j.wrapping_add(here);
            let there = self.state[usize::from(self.j)];
            self.state.swap(self.i.into(), self.j.into());
            *byte ^= self.state[usize::from(here.wrapping_add(there))];
        }
    }
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    sha1_smol::Sha1::from(parts.concat()).digest().bytes()
}

fn from_hex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map_or(0, |digit| digit as u8);
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
