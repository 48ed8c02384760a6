//! The end that accepts, as tests play it: written from 2.1 to 2.7 and not from the filter, so that
//! a mistake of the one is not made by the other.
//!
//! All that it says follows from our public key, so it says all at once; what it heard is read at the
//! end.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U768};
use rc4::{KeyInit, Rc4, StreamCipher};
use sha1::{Digest, Sha1};

use crate::base::id::InfoHash;

const P: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22\
                 514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6\
                 f44c42e9a63a36210000000000090563";

/// Choices of what is left to the end that accepts.
#[derive(Clone, Debug)]
pub(in crate::peer) struct Answer {
    pub(in crate::peer) select: u32,
    pub(in crate::peer) pad_b: Vec<u8>,
    /// How long PadD is said to be; as long as it is, unless the peer lies.
    pub(in crate::peer) pad_d_len: usize,
    pub(in crate::peer) pad_d: Vec<u8>,
}

impl Answer {
    /// With this selection and these paddings.
    pub(in crate::peer) fn new(select: u32, pad_b: Vec<u8>, pad_d: Vec<u8>) -> Self {
        Self { select, pad_b, pad_d_len: pad_d.len(), pad_d }
    }

    /// Whether the payload is enciphered.
    fn is_rc4(&self) -> bool {
        self.select == 2
    }
}

/// What the end that connects said behind its key.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::peer) struct Heard {
    pub(in crate::peer) provided: u32,
    pub(in crate::peer) pad_a: usize,
    pub(in crate::peer) pad_c: usize,
    pub(in crate::peer) first: Vec<u8>,
    pub(in crate::peer) payload: Vec<u8>,
}

/// One end that accepts.
pub(in crate::peer) struct Responder {
    public: [u8; 96],
    secret: [u8; 96],
    torrent: InfoHash,
}

impl Responder {
    /// One with this torrent, to which `key` was sent first.
    pub(in crate::peer) fn new(torrent: InfoHash, exponent: u128, key: &[u8]) -> Self {
        let exponent = U256::from_u128(exponent | 1 << 127);
        let secret = power(U768::from_be_slice(&key[..96]), exponent);
        Self { public: power(U768::from_u8(2), exponent), secret, torrent }
    }

    /// Everything that it says: key and padding, selection and padding, payload.
    pub(in crate::peer) fn says(&self, answer: &Answer, payload: &[u8]) -> Vec<u8> {
        let mut rc4 = self.keystream(b"keyB");
        let mut sealed = vec![0; 8];
        sealed.extend_from_slice(&answer.select.to_be_bytes());
        sealed.extend_from_slice(&(answer.pad_d_len as u16).to_be_bytes());
        sealed.extend_from_slice(&answer.pad_d);
        let clear = if answer.is_rc4() { &[][..] } else { payload };
        if answer.is_rc4() {
            sealed.extend_from_slice(payload);
        }
        rc4.apply_keystream(&mut sealed);
        [&self.public[..], &answer.pad_b, &sealed, clear].concat()
    }

    /// Reads everything that the other end said.
    pub(in crate::peer) fn heard(&self, said: &[u8], answer: &Answer) -> Heard {
        let mark = sha1(&[b"req1", &self.secret]);
        let pad_a = said[96..].windows(20).position(|window| window == mark).expect("synchronised");
        let (torrent, sealed) = said[96 + pad_a + 20..].split_at(20);
        let other = sha1(&[b"req3", &self.secret]);
        let torrent: Vec<u8> = torrent.iter().zip(other).map(|(a, b)| a ^ b).collect();
        assert_eq!(torrent, sha1(&[b"req2", &self.torrent.0]));

        let mut rc4 = self.keystream(b"keyA");
        let mut opened = sealed.to_vec();
        rc4.apply_keystream(&mut opened);
        assert_eq!(opened[..8], [0; 8]);
        let provided = u32::from_be_bytes(opened[8..12].try_into().expect("four"));
        let number = |at: usize| usize::from(opened[at]) << 8 | usize::from(opened[at + 1]);
        let pad_c = number(12);
        let start = 16 + pad_c;
        let end = start + number(start - 2);
        let payload = if answer.is_rc4() { &opened[end..] } else { &sealed[end..] };
        let (first, payload) = (opened[start..end].to_vec(), payload.to_vec());
        Heard { provided, pad_a, pad_c, first, payload }
    }

    fn keystream(&self, name: &[u8]) -> Rc4 {
        let key = sha1(&[name, &self.secret, &self.torrent.0]);
        let mut rc4 = Rc4::new_from_slice(&key).expect("a legal length");
        rc4.apply_keystream(&mut [0; 1024]);
        rc4
    }
}

fn power(base: U768, exponent: U256) -> [u8; 96] {
    let prime = Odd::new(U768::from_be_hex(P)).expect("odd");
    let base = FixedMontyForm::new(&base, &FixedMontyParams::new(prime));
    base.pow(&exponent).retrieve().to_be_bytes().as_ref().try_into().expect("768 bits")
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    Sha1::digest(parts.concat()).into()
}
