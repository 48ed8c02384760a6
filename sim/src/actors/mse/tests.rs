use estudely_core::internal::exchange::{self, Attempt, Pipeline, Progress};
use estudely_core::{Duration, Encryption, Exchange, Outcome, PeerFault, Seed, Transport};

use super::keys::{KEY_LEN, hash, keystream, public, secret, torrent_mark};
use super::*;
use crate::world::dht::PeerState;
use crate::world::dht::tests::{plan, share};
use crate::world::torrent::MetadataSizes;

const ATTEMPT: Attempt = Attempt { transport: Transport::TcpEncrypted, pipeline: Pipeline::All };
const START: Instant = Instant::from_micros(5_000_000);

fn world() -> World {
    let mut plan = plan(10, 60);
    plan.metadata = MetadataSizes::Between(300..=70_000);
    World::build(plan).expect("world")
}

fn live(world: &World) -> u32 {
    (0..world.peer_count()).find(|&p| world.peer(p).state == PeerState::Live).expect("a live peer")
}

fn terms(selects: Selects, pad_b: usize, pad_d: usize) -> Terms {
    Terms { selects, pad_b, pad_d, vice: None }
}

fn exchange(world: &World, number: u32, encryption: Option<Encryption>) -> Exchange {
    let (key, seed) = (world.key(world.peer(number).torrent), Seed::from_u64(number.into()));
    let exchange = Exchange::new(START, key, ATTEMPT, None, seed);
    match encryption {
        Some(encryption) => exchange.with_encryption(encryption, seed),
        None => exchange,
    }
}

/// The core's own fetcher meets the peer; both hear the other in parts of at most `part` bytes.
fn meet(world: &World, terms: Terms, encryption: Option<Encryption>, part: usize) -> Outcome {
    let number = live(world);
    let mut peer = MsePeer::new(world, START, number, terms);
    let mut exchange = exchange(world, number, encryption);
    let (mut now, mut to_peer, mut to_exchange) = (START, Vec::new(), Vec::new());
    exchange.handle_connected(now, &mut to_peer);
    let mut step = Step::Continue;
    loop {
        for bytes in std::mem::take(&mut to_exchange).chunks(part) {
            if let exchange::Step::Finished(outcome) =
                exchange.handle_bytes(now, bytes, &mut to_peer)
            {
                return *outcome;
            }
        }
        if step != Step::Continue {
            return exchange.handle_closed(now);
        }
        if !to_peer.is_empty() {
            for bytes in std::mem::take(&mut to_peer).chunks(part) {
                if step == Step::Continue {
                    step = peer.handle_bytes(world, now, bytes, &mut to_exchange);
                }
            }
            continue;
        }
        now = now.max(exchange.poll_timeout().min(peer.poll_timeout()));
        if let exchange::Step::Finished(outcome) = exchange.handle_timeout(now, &mut to_peer) {
            return *outcome;
        }
        if now >= peer.poll_timeout() {
            step = peer.handle_timeout(world, now, &mut to_exchange);
        }
    }
}

#[test]
fn keys_and_keystreams_are_those_that_another_program_computed() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let [a, b] = [1, 0x15].map(|first| std::array::from_fn(|at| first + at as u8));
    let torrent = estudely_core::InfoHash(*b"mnopqrstuvwxyz123456");
    let shared = secret(&public(&a), &b);
    assert_eq!(shared, secret(&public(&b), &a));
    assert_eq!(hex(&hash(&[&public(&a)])), "9fa4c50e31ec4635ddb9ef30405e9db341313ed2");
    assert_eq!(hex(&hash(&[&shared])), "12ba167261b1d285979464feaaf403c26052c6b8");
    let mark = torrent_mark(&shared, torrent);
    assert_eq!(hex(&mark), "6a1dfb975cd9e4e42342902f4a16c04e907fde4f");
    for (name, expected) in [
        (b"keyA", "f7a9b34bef017d79749dc86400eaeab9"),
        (b"keyB", "65cb51407330335d80e98920189554c5"),
    ] {
        let mut bytes = [0; 16];
        rc4::StreamCipher::apply_keystream(&mut keystream(name, &shared, torrent), &mut bytes);
        assert_eq!(hex(&bytes), expected);
    }
}

#[test]
fn either_selection_serves_all_metadata_with_any_padding_and_in_any_parts() {
    let world = world();
    let expected = world.torrent(world.peer(live(&world)).torrent).info;
    for selects in [Selects::Plaintext, Selects::Rc4] {
        for (pad_b, pad_d) in [(0, 0), (PAD_MAX, PAD_MAX), (0, PAD_MAX), (17, 300)] {
            for part in [1, 7, 4_096, 1 << 20] {
                let terms = terms(selects, pad_b, pad_d);
                let outcome = meet(&world, terms, Some(Encryption::Either), part);
                let fetched = outcome.result.expect("metadata");
                assert_eq!(fetched.metadata.raw(), expected, "{terms:?} {part}");
            }
        }
    }
}

#[test]
fn what_is_not_offered_or_not_encrypted_is_hung_up_on() {
    let world = world();
    let rc4 = terms(Selects::Rc4, 5, 5);
    let plaintext = terms(Selects::Plaintext, 5, 5);
    let outcome = meet(&world, rc4, Some(Encryption::Required), 100);
    assert!(outcome.result.is_ok());
    let outcome = meet(&world, plaintext, Some(Encryption::Required), 100);
    assert_eq!(outcome.result, Err(PeerFault::ClosedExchangingKeys));
    let outcome = meet(&world, rc4, None, 100);
    assert_eq!(outcome.result, Err(PeerFault::ClosedEarly));
    assert_eq!(outcome.progress, Progress::Connected);
}

#[test]
fn each_vice_ends_with_its_fault_and_soon() {
    let world = world();
    for (vice, fault) in [
        (MseVice::EndlessPadding, Some(PeerFault::NoVc)),
        (MseVice::NoConstant, Some(PeerFault::NoVc)),
        (MseVice::MuteAfterKey, Some(PeerFault::HandshakeTimeout)),
        (MseVice::DegenerateKey, Some(PeerFault::BadKey)),
        (MseVice::BothBits, None),
        (MseVice::NoBits, Some(PeerFault::BadSelect)),
        (MseVice::LongPadding, Some(PeerFault::BadPad)),
    ] {
        let terms = Terms { vice: Some(vice), ..terms(Selects::Rc4, 9, 9) };
        let outcome = meet(&world, terms, Some(Encryption::Either), 50);
        assert_eq!(outcome.result.as_ref().err().copied(), fault, "{vice:?}");
        let took = outcome.timings.ended.since(START);
        assert!(took <= Duration::from_secs(10), "{vice:?}: {took:?}");
    }
    let both = Terms { vice: Some(MseVice::BothBits), ..terms(Selects::Rc4, 9, 9) };
    let outcome = meet(&world, both, Some(Encryption::Required), 50);
    assert_eq!(outcome.result, Err(PeerFault::BadSelect));
}

#[test]
fn terms_are_legal_and_both_selections_and_both_ends_of_paddings_are_met() {
    let mut plan = plan(10, 150);
    (plan.sealed_peers, plan.sealed_rc4) = (share(100), share(50));
    let world = World::build(plan).expect("world");
    let of = |peer| Terms::of(&world, peer);
    let all: Vec<_> = (0..world.peer_count()).filter_map(of).collect();
    let is_live = |peer: &u32| world.peer(*peer).state == PeerState::Live;
    assert_eq!(all.len(), (0..world.peer_count()).filter(is_live).count());
    assert!(all.iter().all(|terms| terms.pad_b <= PAD_MAX && terms.pad_d <= PAD_MAX));
    for selects in [Selects::Plaintext, Selects::Rc4] {
        assert!(all.iter().any(|terms| terms.selects == selects));
    }
    for pad in [0, PAD_MAX] {
        assert!(all.iter().any(|terms| terms.pad_b == pad));
        assert!(all.iter().any(|terms| terms.pad_d == pad));
    }
    assert!(all.iter().all(|terms| terms.vice.is_none()), "nobody is hostile there");
    let clear = self::world();
    assert!((0..clear.peer_count()).all(|peer| Terms::of(&clear, peer).is_none()));
}

#[test]
fn bytes_that_are_no_exchange_of_keys_end_it_within_its_longest() {
    let world = world();
    let mut peer = MsePeer::new(&world, START, live(&world), terms(Selects::Rc4, 0, 0));
    let mut out = Vec::new();
    let (most, noise) = (KEY_LEN + PAD_MAX + 20, [0x77; 1_000]);
    assert_eq!(peer.handle_bytes(&world, START, &noise[..most - 1], &mut out), Step::Continue);
    assert_eq!(out.len(), KEY_LEN);
    assert_eq!(peer.handle_bytes(&world, START, &noise[..1], &mut out), Step::Close);
}
