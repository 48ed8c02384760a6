//! The arithmetic and the hashes of message stream encryption, from its specification.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U768};
use estudely_core::InfoHash;
use rc4::{KeyInit, Rc4, StreamCipher};
use sha1_smol::Sha1;

/// Bytes of a public key and of the secret.
pub(crate) const KEY_LEN: usize = 96;
/// Bytes of a private key.
pub(crate) const PRIVATE_LEN: usize = 20;

/// The modulus in hexadecimal digits.
const PRIME: &str = "\
    ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
    020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
    4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563";

/// The modulus, less so much.
pub(crate) fn prime_less(less: u8) -> [u8; KEY_LEN] {
    written(&U768::from_be_hex(PRIME).wrapping_sub(&U768::from_u8(less)))
}

/// The public key that belongs to a private one.
pub(crate) fn public(private: &[u8; PRIVATE_LEN]) -> [u8; KEY_LEN] {
    power(&U768::from_u8(2), private)
}

/// The secret shared with the owner of the public key `theirs`.
pub(crate) fn secret(theirs: &[u8], private: &[u8; PRIVATE_LEN]) -> [u8; KEY_LEN] {
    power(&U768::from_be_slice(theirs), private)
}

fn power(base: &U768, private: &[u8; PRIVATE_LEN]) -> [u8; KEY_LEN] {
    let mut wide = [0; 32];
    wide[32 - PRIVATE_LEN..].copy_from_slice(private);
    let prime = Odd::new(U768::from_be_hex(PRIME)).expect("a prime is odd");
    let base = FixedMontyForm::new(base, &FixedMontyParams::new_vartime(prime));
    written(&base.pow_bounded_exp(&U256::from_be_slice(&wide), 8 * PRIVATE_LEN as u32).retrieve())
}

fn written(number: &U768) -> [u8; KEY_LEN] {
    let mut bytes = [0; KEY_LEN];
    bytes.copy_from_slice(number.to_be_bytes().as_ref());
    bytes
}

/// SHA-1 of all of them, one after the other.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 20] {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    hash.digest().bytes()
}

/// What says which torrent a dialler means.
pub(crate) fn torrent_mark(secret: &[u8; KEY_LEN], torrent: InfoHash) -> [u8; 20] {
    let other = hash(&[b"req3", secret]);
    let mut mark = hash(&[b"req2", &torrent.0]);
    mark.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    mark
}

/// A keystream behind the first 1 024 bytes, which nothing is enciphered with. The dialler's is
/// called `keyA`, the accepting end's `keyB`.
pub(crate) fn keystream(name: &[u8; 4], secret: &[u8; KEY_LEN], torrent: InfoHash) -> Rc4 {
    let key = hash(&[name, secret, &torrent.0]);
    let mut rc4 = Rc4::new_from_slice(&key).expect("RC4 takes keys of 20 bytes");
    rc4.apply_keystream(&mut [0; 1024]);
    rc4
}
