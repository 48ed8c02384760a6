//! The key exchange of message stream encryption: Diffie and Hellman's, in a group of 768 bits
//! (2.1), and what is hashed of its result (2.3, 2.4).

use std::fmt;

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U192, U768, const_monty_params};
use sha1::{Digest, Sha1};

use crate::base::id::{ID_LEN, InfoHash};
use crate::base::planted::{self, Bug};

/// Bytes of a public key and of the secret that both ends share, zeros on the left included (2.1).
pub(super) const KEY_LEN: usize = 96;
/// Bytes and bits of a private key (2.1).
const EXPONENT_LEN: usize = 20;
const EXPONENT_BITS: u32 = 160;

const_monty_params!(
    Prime,
    U768,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
     020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
     4FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
    "P, a safe prime (2.1)."
);

/// A number modulo P.
type Residue = ConstMontyForm<Prime, { U768::LIMBS }>;

/// G (2.1).
const GENERATOR: Residue = Residue::new(&U768::from_u8(2));
/// P - 2, the highest public key that is accepted (2.7).
const HIGHEST: U768 = Prime::PARAMS.modulus().as_ref().wrapping_sub(&U768::from_u8(2));

/// A private key and the public one that belongs to it.
#[derive(Clone)]
pub(super) struct KeyPair {
    exponent: U192,
    public: [u8; KEY_LEN],
}

impl KeyPair {
    /// The pair of a private key of 160 random bits, big endian.
    pub(super) fn new(exponent: [u8; EXPONENT_LEN]) -> Self {
        let mut wide = [0; U192::BYTES];
        wide[U192::BYTES - EXPONENT_LEN..].copy_from_slice(&exponent);
        let exponent = U192::from_be_slice(&wide);
        let public = GENERATOR.pow_bounded_exp(&exponent, EXPONENT_BITS);
        Self { exponent, public: bytes(&public) }
    }

    /// The public key, as it is sent.
    pub(super) fn public(&self) -> &[u8; KEY_LEN] {
        &self.public
    }

    /// The secret shared with the owner of the public key `theirs`; `None` if that lies outside 2
    /// to P - 2, where the secret would be known to everybody (2.7).
    pub(super) fn agree(self, theirs: &[u8; KEY_LEN]) -> Option<Secret> {
        let theirs = U768::from_be_slice(theirs);
        if theirs < U768::from_u8(2) || theirs > HIGHEST {
            return None;
        }
        let shared = Residue::new(&theirs).pow_bounded_exp(&self.exponent, EXPONENT_BITS);
        Some(Secret(bytes(&shared)))
    }
}

/// Shows nothing of the private key.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

/// A number modulo P, big endian, with zeros on the left: what is hashed must have all 96 bytes, or
/// one handshake in 256 fails (2.10).
fn bytes(residue: &Residue) -> [u8; KEY_LEN] {
    let mut bytes = [0; KEY_LEN];
    bytes.copy_from_slice(residue.retrieve().to_be_bytes().as_ref());
    bytes
}

/// S: what both ends, and nobody who only listens, can compute.
pub(super) struct Secret([u8; KEY_LEN]);

impl Secret {
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// By what the peer finds the end of our padding.
    pub(super) fn synchronisation(&self) -> [u8; ID_LEN] {
        let zeros = self.0.iter().take_while(|byte| **byte == 0).count();
        let start = if planted::is(Bug::UnpaddedSecret) { zeros } else { 0 };
        hash(&[b"req1", &self.0[start..]])
    }

    /// By what the peer finds out which torrent is meant.
    pub(super) fn torrent_mark(&self, torrent: InfoHash) -> [u8; ID_LEN] {
        let mut mark = hash(&[b"req2", &torrent.0]);
        for (byte, other) in mark.iter_mut().zip(hash(&[b"req3", &self.0])) {
            *byte ^= other;
        }
        mark
    }

    /// The RC4 key of the end that connects (2.4).
    pub(super) fn key_of_initiator(&self, torrent: InfoHash) -> [u8; ID_LEN] {
        hash(&[b"keyA", &self.0, &torrent.0])
    }

    /// The RC4 key of the end that accepts (2.4).
    pub(super) fn key_of_responder(&self, torrent: InfoHash) -> [u8; ID_LEN] {
        hash(&[b"keyB", &self.0, &torrent.0])
    }
}

fn hash(parts: &[&[u8]]) -> [u8; ID_LEN] {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
