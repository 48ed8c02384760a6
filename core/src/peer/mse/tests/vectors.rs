//! Known answers: RFC 6229, and handshakes computed by other programs.

use rc4::{KeyInit, Rc4, StreamCipher};
use sha1::{Digest, Sha1};

use crate::base::id::InfoHash;
use crate::peer::mse::cipher::{Cipher, Ciphers};
use crate::peer::mse::keys::{KEY_LEN, KeyPair};

const TORRENT: InfoHash = InfoHash(*b"mnopqrstuvwxyz123456");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha1(bytes: &[u8]) -> String {
    hex(&Sha1::digest(bytes))
}

/// 1, 2, 3 and so on from `first`, big endian; the last byte is `last`.
fn exponent(first: u8, last: [u8; 2]) -> [u8; 20] {
    let mut exponent = std::array::from_fn(|at| first + at as u8);
    exponent[18..].copy_from_slice(&last);
    exponent
}

/// 16 bytes of a keystream.
fn next(cipher: &mut Cipher) -> String {
    let mut bytes = [0; 16];
    cipher.apply(&mut bytes);
    hex(&bytes)
}

#[test]
fn rc4_gives_the_keystreams_of_rfc_6229() {
    for (len, at_1024, at_4096) in [
        (5, "30abbcc7c20b01609f23ee2d5f6bb7df", "ff25b58995996707e51fbdf08b34d875"),
        (16, "bdf0324e6083dcc6d3cedd3ca8c53c16", "a36a4c301ae8ac13610ccbc12256cacc"),
        (32, "7fec5bfd9f9b89ce6548309092d7e958", "f3e4c0a2e02d1d01f7f0a74618af2b48"),
    ] {
        let key: Vec<u8> = (1..=len).collect();
        let mut stream = [0; 4112];
        Rc4::new_from_slice(&key).expect("a legal length").apply_keystream(&mut stream);
        assert_eq!(
            (hex(&stream[1024..1040]), hex(&stream[4096..])),
            (at_1024.into(), at_4096.into())
        );
    }
    // A key repeated is the same key: here it is one of our length, and 1 024 bytes are dropped.
    let mut ours = Cipher::new(std::array::from_fn(|at| at as u8 % 5 + 1));
    assert_eq!(next(&mut ours), "30abbcc7c20b01609f23ee2d5f6bb7df");
    ours.skip(4096 - 1040);
    let mut copy = ours.clone();
    assert_eq!(next(&mut ours), "ff25b58995996707e51fbdf08b34d875");
    assert_eq!(next(&mut copy), "ff25b58995996707e51fbdf08b34d875");
}

/// One handshake: private keys, and what follows from them.
struct Vector {
    last_of_b: [u8; 2],
    /// SHA-1 of the public key of the end that accepts, and of the secret.
    public_b: &'static str,
    secret: &'static str,
    synchronisation: &'static str,
    torrent_mark: &'static str,
    /// Of the end that connects, and of the other.
    keystreams: [&'static str; 2],
}

fn check(vector: &Vector) {
    let first = exponent(1, [0x13, 0x14]);
    let ours = KeyPair::new(first);
    assert_eq!(hex(&ours.public()[..8]), "96e112dab29e8c52");
    assert_eq!(sha1(ours.public()), "9fa4c50e31ec4635ddb9ef30405e9db341313ed2");
    let theirs = KeyPair::new(exponent(0x15, vector.last_of_b));
    assert_eq!(sha1(theirs.public()), vector.public_b);

    for secret in [
        ours.clone().agree(theirs.public()).expect("a key"),
        theirs.agree(ours.public()).expect("a key"),
    ] {
        assert_eq!(sha1(secret.bytes()), vector.secret);
        assert_eq!(hex(&secret.synchronisation()), vector.synchronisation);
        assert_eq!(hex(&secret.torrent_mark(TORRENT)), vector.torrent_mark);
        let mut ciphers = Ciphers::new(&secret, TORRENT);
        assert_eq!(next(&mut ciphers.sends), vector.keystreams[0]);
        assert_eq!(next(&mut ciphers.hears), vector.keystreams[1]);
    }
}

#[test]
fn a_handshake_gives_the_bytes_that_another_program_computed() {
    check(&Vector {
        last_of_b: [0x27, 0x28],
        public_b: "e87d6f3297cfe8e032abf07a2ab1028c4e2dcbb0",
        secret: "12ba167261b1d285979464feaaf403c26052c6b8",
        synchronisation: "83c8d8a3d91a5bf40d723666c4258731c8427ccb",
        torrent_mark: "6a1dfb975cd9e4e42342902f4a16c04e907fde4f",
        keystreams: ["f7a9b34bef017d79749dc86400eaeab9", "65cb51407330335d80e98920189554c5"],
    });
}

#[test]
fn a_secret_that_begins_with_zeros_keeps_them() {
    // The secret's first byte is 0 and the second is 0x50.
    check(&Vector {
        last_of_b: [0x28, 0x70],
        public_b: "caabbb254ac10745ec290a2db02b84496987bbd5",
        secret: "060cb5ec61c8a00bc7384cfbb892a9736f6e71bb",
        synchronisation: "e4d23d3d56123f90ab9d9031cae9c834a062184b",
        torrent_mark: "3a682c3e8b3c9b094743446d183d5653afb0871e",
        keystreams: ["1f46492f22fb3a56ee92732c64188129", "5c9b2a2cb707f72d252b42caeb3b4afe"],
    });
}

#[test]
fn a_public_key_that_begins_with_zeros_keeps_them() {
    let pair = KeyPair::new(exponent(0x15, [0x27, 0xce]));
    assert_eq!(hex(&pair.public()[..4]), "00e73229");
    assert_eq!(sha1(pair.public()), "375f9328220b481ccbe770021844ca3610c197fa");
    let secret = KeyPair::new(exponent(1, [0x13, 0x14])).agree(pair.public()).expect("a key");
    assert_eq!(sha1(secret.bytes()), "8fb01420d9adb5a5cefc24171dce59052683fc44");
}

#[test]
fn public_keys_are_accepted_from_2_to_p_minus_2_and_not_one_beyond() {
    let mut prime = [0; KEY_LEN];
    let text = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22\
                514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6\
                f44c42e9a63a36210000000000090563";
    for (byte, digits) in prime.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = str::from_utf8(digits).expect("ASCII");
        *byte = u8::from_str_radix(digits, 16).expect("digits");
    }
    let small = |last| {
        let mut key = [0; KEY_LEN];
        key[KEY_LEN - 1] = last;
        key
    };
    let below = |less: u8| {
        let mut key = prime;
        key[KEY_LEN - 1] -= less;
        key
    };
    let above = |more: u8| {
        let mut key = prime;
        key[KEY_LEN - 1] += more;
        key
    };
    let pair = KeyPair::new(exponent(1, [0x13, 0x14]));
    let accepts = |key: [u8; KEY_LEN]| pair.clone().agree(&key).is_some();
    for key in [small(2), small(3), below(2), below(3)] {
        assert!(accepts(key), "{}", hex(&key));
    }
    for key in [small(0), small(1), below(1), below(0), above(1), above(2), [0xff; KEY_LEN]] {
        assert!(!accepts(key), "{}", hex(&key));
    }
}
