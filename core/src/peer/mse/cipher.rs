//! RC4 as message stream encryption uses it: the first 1 024 bytes of a keystream are dropped, the
//! rest runs on unbroken over handshake and payload (2.4).

use std::fmt;

use rc4::{KeyInit, Rc4, StreamCipher};

use crate::base::id::{ID_LEN, InfoHash};
use crate::peer::mse::keys::Secret;

/// Bytes of a keystream that nothing is enciphered with (2.4).
const DROPPED: usize = 1024;

/// The keystreams of both directions.
#[derive(Clone, Debug)]
pub(super) struct Ciphers {
    pub(super) sends: Cipher,
    pub(super) hears: Cipher,
}

impl Ciphers {
    /// Those of a connection that we made, at their beginnings.
    pub(super) fn new(secret: &Secret, torrent: InfoHash) -> Self {
        Self {
            sends: Cipher::new(secret.key_of_initiator(torrent)),
            hears: Cipher::new(secret.key_of_responder(torrent)),
        }
    }
}

/// One keystream, and how far it has come.
pub(super) struct Cipher {
    rc4: Rc4,
    key: [u8; ID_LEN],
    /// Bytes of it that are used up, those that were dropped included.
    used: usize,
}

impl Cipher {
    /// The keystream of `key` behind the bytes that are dropped.
    pub(super) fn new(key: [u8; ID_LEN]) -> Self {
        // RC4 takes keys of 1 to 256 bytes: the other key is never used.
        let rc4 = Rc4::new_from_slice(&key).unwrap_or_else(|_| Rc4::new(&Default::default()));
        let mut cipher = Self { rc4, key, used: 0 };
        cipher.skip(DROPPED);
        cipher
    }

    /// Enciphers or deciphers in place.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        self.rc4.apply_keystream(bytes);
        self.used += bytes.len();
    }

    /// Enciphers or deciphers `from` into `to`, which are of the same length.
    pub(super) fn apply_to(&mut self, from: &[u8], to: &mut [u8]) {
        to.copy_from_slice(from);
        self.apply(to);
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, mut count: usize) {
        let mut waste = [0; 64];
        while count > 0 {
            let part = count.min(waste.len());
            self.apply(&mut waste[..part]);
            count -= part;
        }
    }
}

/// Generates the keystream once more up to the same byte: copies are for replays, which make them
/// when there is no cipher yet.
impl Clone for Cipher {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.key);
        copy.skip(self.used - DROPPED);
        copy
    }
}

/// Shows nothing of the key.
impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").field("used", &self.used).finish_non_exhaustive()
    }
}
