//! Canaries of connections and of the rows that come of them.

use std::net::SocketAddr;

use estudely_core::limits::{BARREN_ROUNDS_MAX, PLAN_CONNECTS_MAX, PUT_BACKS_MAX, TURNS_MAX};
use estudely_core::{Config, Duration, InfoHash, Mode, PeerFault};

use super::super::table::snapshot;
use super::bench::{Bench, RAW, addr, hash_of, seconds, verified};
use super::{ID, id, knowing_in, node};
use crate::judge::checker::dials::PRESSURES_MAX;
use crate::judge::checker::expected::{Due, Fields};
use crate::judge::rule::*;
use crate::world::scenario::{Carries, Encrypts, Scenario};

fn peer(n: u8) -> SocketAddr {
    addr(&format!("30.{n}.1.1:7000"))
}

fn fields() -> Fields {
    Fields { name: "a".to_owned(), file_count: 1, total_bytes: 5, piece_length: 16_384 }
}

/// A run in which node 1 has sampled the torrent of `RAW` and named peers of it.
fn with_peers(scenario: Scenario, peers: &[SocketAddr]) -> Bench {
    let hash = hash_of(RAW);
    let mut bench = knowing_in(scenario, &[1, 2]);
    bench.truth().torrents.push((InfoHash(hash), fields()));
    let t = bench.sample(node(1));
    bench.samples(node(1), &t, id(1), Some(600), &[hash]);
    let t = bench.get_peers(node(1), hash);
    bench.values(node(1), &t, peers);
    bench
}

fn with_peer() -> Bench {
    with_peers(Scenario::calm(1), &[peer(1), peer(2)])
}

fn handshake(hash: [u8; 20]) -> Vec<u8> {
    [b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0", &hash[..], b"-EY0100-abcdefghijkl"].concat()
}

fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32 + 2).to_be_bytes();
    [&length[..], &[20, id], payload].concat()
}

fn request(piece: u32) -> String {
    format!("d8:msg_typei0e5:piecei{piece}ee")
}

/// The first one of several pieces, whose head says also what `told` does.
fn first_piece(told: &str) -> Vec<u8> {
    let head = format!("d8:msg_typei1e5:piecei0e{told}e");
    extended(2, &[head.as_bytes(), &[b'x'; 16_384]].concat())
}

/// Both handshakes and their extensions, which give ut_metadata 3 and a size.
fn shaken(bench: &mut Bench, size: usize) {
    shaken_on(bench, 1, size);
}

/// The same on connection `conn`.
fn shaken_on(bench: &mut Bench, conn: u64, size: usize) {
    shaken_with(bench, (conn, peer(1)), size);
}

/// The same with any peer.
fn shaken_with(bench: &mut Bench, (conn, to): (u64, SocketAddr), size: usize) {
    bench.dial(conn, to);
    bench.connected(conn);
    bench.wrote(conn, &handshake(hash_of(RAW)));
    bench.read(conn, &handshake(hash_of(RAW)));
    bench.wrote(conn, &extended(0, b"d1:md11:ut_metadatai2eee"));
    let theirs = format!("d1:md11:ut_metadatai3ee13:metadata_sizei{size}ee");
    bench.read(conn, &extended(0, theirs.as_bytes()));
}

/// The whole of a fetch, up to its outcome.
fn fetched(bench: &mut Bench) {
    shaken(bench, RAW.len());
    bench.wrote(1, &extended(3, request(0).as_bytes()));
    let head = format!("d8:msg_typei1e5:piecei0e10:total_sizei{}ee", RAW.len());
    bench.read(1, &extended(2, &[head.as_bytes(), RAW].concat()));
    bench.ended(1, None);
    let stats = &mut bench.stats;
    for reached in [&mut stats.connected, &mut stats.tcp_connected, &mut stats.delivered] {
        *reached += 1;
    }
    for reached in [&mut stats.handshaken, &mut stats.tcp_handshaken] {
        *reached += 1;
    }
    for reached in [&mut stats.offering_metadata, &mut stats.complete, &mut stats.tcp_complete] {
        *reached += 1;
    }
}

#[test]
fn a_whole_fetch_breaks_nothing() {
    let mut bench = with_peer();
    fetched(&mut bench);
    bench.verified(&verified(hash_of(RAW), RAW, vec![peer(1), peer(2)]));
    bench.drain();
    bench.wait(seconds(600));
    let t = bench.sample(node(1));
    bench.samples(node(1), &t, id(1), Some(600), &[hash_of(RAW)]);
    bench.shut_down();
    bench.finish();
    bench.expect(None);
}

#[test]
fn rows_say_what_is_true() {
    let other = b"d6:lengthi5e4:name1:b12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let hash = hash_of(RAW);
    let wrong = Fields { total_bytes: 6, ..fields() };
    for (facts, row, breaks) in [
        (Some(fields()), verified(hash, RAW, vec![peer(1)]), false),
        (Some(fields()), verified(hash, other, vec![peer(1)]), true),
        (Some(wrong), verified(hash, RAW, vec![peer(1)]), true),
        (None, verified(hash, RAW, vec![peer(1)]), true),
        (Some(fields()), verified(hash, RAW, vec![peer(2)]), true),
    ] {
        let mut bench = with_peer();
        let facts = facts.map(|facts| (InfoHash(hash), facts));
        bench.truth().torrents = facts.into_iter().collect();
        fetched(&mut bench);
        bench.verified(&row);
        bench.expect(breaks.then_some(METADATA_TRUE));
    }
}

#[test]
fn rows_name_peers_that_somebody_named() {
    let mut bench = with_peer();
    fetched(&mut bench);
    bench.verified(&verified(hash_of(RAW), RAW, vec![peer(1), peer(3)]));
    bench.expect(Some(MATCHED_REPLIES));
}

#[test]
fn an_infohash_has_one_row_of_a_kind_and_none_after_true() {
    for (before, breaks) in [(0, false), (1, true)] {
        let mut bench = with_peer();
        for _ in 0..=before {
            bench.failed(hash_of(RAW));
        }
        bench.expect(breaks.then_some(ONE_ROW));
    }
    let mut bench = with_peer();
    bench.failed(hash_of(RAW));
    bench.wait(seconds(3_600));
    fetched(&mut bench);
    bench.verified(&verified(hash_of(RAW), RAW, vec![peer(1)]));
    bench.expect(None);
    bench.failed(hash_of(RAW));
    bench.expect(Some(ONE_ROW));
}

#[test]
fn what_is_verified_is_not_worked_on_again() {
    for wait in [0, 30, 4_000] {
        let mut bench = with_peer();
        fetched(&mut bench);
        bench.verified(&verified(hash_of(RAW), RAW, vec![peer(1)]));
        bench.wait(seconds(wait));
        bench.get_peers(node(2), hash_of(RAW));
        bench.expect(Some(NO_WORK_TWICE));
    }
    let mut bench = with_peer();
    fetched(&mut bench);
    bench.verified(&verified(hash_of(RAW), RAW, vec![peer(1)]));
    bench.wait(seconds(1));
    bench.dial(2, peer(2));
    bench.connected(2);
    bench.wrote(2, &handshake(hash_of(RAW)));
    bench.expect(Some(NO_WORK_TWICE));
}

#[test]
fn connections_keep_within_their_caps() {
    let same_net: Vec<_> = (1..=40).map(|n| addr(&format!("30.1.1.{n}:7000"))).collect();
    let same_ip: Vec<_> = (1..=3).map(|n| addr(&format!("30.1.1.1:700{n}"))).collect();
    let apart: Vec<_> = (1..=6).map(peer).collect();
    for (peers, most, breaks) in [
        (&same_net[..30], 200, false),
        (&same_net[..31], 200, true),
        (&same_ip[..2], 200, false),
        (&same_ip[..3], 200, true),
        (&apart[..5], 5, false),
        (&apart[..6], 5, true),
    ] {
        let mut bench = with_peers(Scenario { connections: most, ..Scenario::calm(1) }, peers);
        for (conn, peer) in (1..).zip(peers) {
            bench.dial(conn, *peer);
        }
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
    let mut bench = with_peer();
    bench.dial(1, peer(9));
    bench.expect(Some(MATCHED_REPLIES));
}

#[test]
fn connections_end_by_their_deadlines() {
    for (wait, breaks) in [(8, false), (9, true)] {
        let mut bench = with_peer();
        bench.drain();
        bench.dial(1, peer(1));
        bench.wait(seconds(wait));
        bench.drain();
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
    for (wait, breaks) in [(4_500, false), (5_500, true)] {
        let scenario = Scenario { transports: Carries::Both, ..Scenario::calm(1) };
        let mut bench = with_peers(scenario, &[peer(1)]);
        bench.dial_utp(1, peer(1));
        bench.wait(Duration::from_millis(wait));
        bench.drain();
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
    // A byte now and then puts off nothing.
    for (times, breaks) in [(10, false), (11, true)] {
        let mut bench = with_peer();
        bench.dial(1, peer(1));
        bench.connected(1);
        bench.wrote(1, &handshake(hash_of(RAW)));
        for _ in 0..times {
            bench.wait(seconds(1));
            bench.read(1, b"\x13");
            bench.drain();
        }
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
}

#[test]
fn the_head_of_a_first_piece_is_an_offer_however_slowly_the_piece_comes() {
    for (told, wait, breaks) in
        [("10:total_sizei20000e", 9, false), ("10:total_sizei20000e", 11, true), ("", 9, true)]
    {
        let mut bench = with_peer();
        shaken(&mut bench, 0);
        bench.wrote(1, &extended(3, request(0).as_bytes()));
        bench.drain();
        bench.wait(seconds(4));
        bench.read(1, &first_piece(told)[..2_000]);
        bench.wait(seconds(wait));
        bench.drain();
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
}

#[test]
fn a_peer_is_tried_once_an_hour_unless_the_attempt_goes_on() {
    let later = seconds(3_600);
    for (fault, wait, breaks) in [
        (PeerFault::NotBitTorrent, seconds(1), true),
        (PeerFault::NotBitTorrent, later, false),
        (PeerFault::Pressure, seconds(1), true),
        (PeerFault::ClosedEarly, seconds(1), true),
    ] {
        let mut bench = with_peer();
        for conn in 1..=2 {
            bench.dial(conn, peer(1));
            bench.connected(conn);
            bench.wrote(conn, &handshake(hash_of(RAW)));
            bench.ended(conn, Some(fault));
            bench.wait(wait);
        }
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
    // Nor does a clock that slips make an outage of what failed while others answered.
    for (fault, clock_stalls, wait, breaks) in [
        (PeerFault::Refused, 0, seconds(1), true),
        (PeerFault::Refused, 0, later, false),
        (PeerFault::ConnectTimeout, 8, seconds(1), true),
    ] {
        let mut bench = with_peers(Scenario { clock_stalls, ..Scenario::calm(1) }, &[peer(1)]);
        for conn in 1..=2 {
            bench.dial(conn, peer(1));
            bench.ended(conn, Some(fault));
            bench.wait(wait);
        }
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
}

/// What an encrypted connection begins with: a key, and some padding.
const KEY_AND_PADDING: [u8; 200] = [0x77; 200];

/// One dial that is accepted, says this, and fails so.
fn fail(bench: &mut Bench, conn: u64, said: &[u8], fault: PeerFault) {
    bench.dial(conn, peer(1));
    bench.connected(conn);
    bench.wrote(conn, said);
    bench.ended(conn, Some(fault));
    // All of them within less than makes an outage of it.
    bench.wait(Duration::from_millis(200));
}

#[test]
fn a_plan_goes_on_with_encryption_after_an_early_end_and_has_four_connects_at_most() {
    let clear = handshake(hash_of(RAW));
    let closed = PeerFault::ClosedExchangingKeys;
    for (first, sealed, clear_again, breaks) in [
        (PeerFault::ClosedEarly, 1, false, false),
        (PeerFault::HandshakeTimeout, 1, false, false),
        (PeerFault::NotBitTorrent, PLAN_CONNECTS_MAX - 1, false, false),
        (PeerFault::ClosedEarly, PLAN_CONNECTS_MAX, false, true),
        (PeerFault::ClosedEarly, 1, true, true),
    ] {
        let mut bench = with_peer();
        fail(&mut bench, 1, &clear, first);
        for conn in 2..2 + u64::from(sealed) {
            fail(&mut bench, conn, &KEY_AND_PADDING, closed);
        }
        if clear_again {
            fail(&mut bench, 100, &clear, first);
        }
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
}

/// How one dial of a plan goes: over uTP or not, and what is said on it, if it is accepted.
type Tried<'a> = (bool, Option<&'a [u8]>);

fn tried(bench: &mut Bench, conn: u64, (utp, said): Tried<'_>) {
    if utp {
        bench.dial_utp(conn, peer(1))
    } else {
        bench.dial(conn, peer(1))
    }
    let Some(said) = said else {
        bench.ended(conn, Some(PeerFault::Refused));
        return bench.wait(Duration::from_millis(200));
    };
    bench.connected(conn);
    bench.wrote(conn, said);
    let is_key = said == KEY_AND_PADDING;
    let fault = if is_key { PeerFault::ClosedExchangingKeys } else { PeerFault::ClosedEarly };
    bench.ended(conn, Some(fault));
    bench.wait(Duration::from_millis(200));
}

#[test]
fn a_plan_tries_each_way_once_over_each_transport_and_has_four_connects_at_most() {
    let (tcp, utp) = (false, true);
    let hello = handshake(hash_of(RAW));
    let (clear, key) = (Some(&hello[..]), Some(&KEY_AND_PADDING[..]));
    let plans: [(&[Tried<'_>], bool); 8] = [
        (&[(tcp, None), (utp, None)], false),
        (&[(tcp, None), (utp, None), (utp, None)], true),
        (&[(tcp, None), (tcp, None)], true),
        (&[(tcp, None), (utp, clear), (utp, key)], false),
        (&[(tcp, clear), (tcp, key), (utp, key), (utp, clear)], false),
        (&[(tcp, clear), (utp, clear), (tcp, clear)], true),
        (&[(tcp, None), (utp, key), (utp, key), (utp, key)], false),
        (&[(tcp, None), (utp, clear), (utp, key), (tcp, key), (tcp, clear)], true),
    ];
    for (nth, (plan, breaks)) in plans.into_iter().enumerate() {
        let scenario = Scenario { transports: Carries::Both, ..Scenario::calm(1) };
        let mut bench = with_peers(scenario, &[peer(1)]);
        (1..).zip(plan).for_each(|(conn, step)| tried(&mut bench, conn, *step));
        let broken: Vec<_> = bench.checker.broken_rules().collect();
        assert_eq!(!broken.is_empty(), breaks, "plan {nth}");
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
}

#[test]
fn connections_are_encrypted_where_that_was_asked_for() {
    let clear = handshake(hash_of(RAW));
    for (encryption, said, breaks) in [
        (Encrypts::Auto, &clear[..], false),
        (Encrypts::Auto, &KEY_AND_PADDING, false),
        (Encrypts::Require, &clear, true),
        (Encrypts::Require, &KEY_AND_PADDING, false),
        (Encrypts::Off, &clear, false),
        (Encrypts::Off, &KEY_AND_PADDING, true),
    ] {
        let mut bench = with_peers(Scenario { encryption, ..Scenario::calm(1) }, &[peer(1)]);
        fail(&mut bench, 1, said, PeerFault::ClosedEarly);
        bench.expect(breaks.then_some(ENCRYPTION_SOUND));
    }
}

#[test]
fn what_gave_up_its_place_has_its_turns() {
    for (brings, times, breaks) in [
        (false, PUT_BACKS_MAX, false),
        (false, PUT_BACKS_MAX + 1, true),
        (true, TURNS_MAX, false),
        (true, TURNS_MAX + 1, true),
    ] {
        let mut bench = with_peer();
        for conn in 1..=u64::from(times) + 1 {
            shaken_on(&mut bench, conn, 20_000);
            bench.wrote(conn, &extended(3, request(0).as_bytes()));
            if brings {
                bench.read(conn, &first_piece(""));
            }
            bench.ended(conn, Some(PeerFault::Yielded));
            bench.wait(seconds(10));
        }
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
}

#[test]
fn a_spent_budget_excuses_where_so_much_is_on_offer_and_not_for_ever() {
    let most = 10 << 20;
    let fits = Config::new(Mode::Crawl).assembly_bytes() / most;
    for (others, times, breaks) in
        [(fits, PRESSURES_MAX, false), (fits - 1, 1, true), (fits, PRESSURES_MAX + 1, true)]
    {
        let peers: Vec<_> = (1..=others as u8 + 1).map(peer).collect();
        let mut bench = with_peers(Scenario::calm(1), &peers);
        for (conn, other) in (1..).zip(&peers[1..]) {
            shaken_with(&mut bench, (conn, *other), most);
        }
        for conn in (100..).take(usize::from(times) + 1) {
            shaken_on(&mut bench, conn, most);
            bench.ended(conn, Some(PeerFault::Pressure));
            bench.wait(seconds(10));
        }
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
}

#[test]
fn a_piece_by_piece_retry_belongs_to_the_attempt_once() {
    for (times, breaks) in [(2, false), (3, true)] {
        let mut bench = with_peer();
        for conn in 1..=times {
            bench.dial(conn, peer(1));
            bench.connected(conn);
            bench.wrote(conn, &handshake(hash_of(RAW)));
            bench.read(conn, &handshake(hash_of(RAW)));
            bench.wrote(conn, &extended(0, b"d1:md11:ut_metadatai2eee"));
            let theirs = b"d1:md11:ut_metadatai3ee13:metadata_sizei20000ee";
            bench.read(conn, &extended(0, theirs));
            bench.wrote(conn, &extended(3, request(0).as_bytes()));
            bench.ended(conn, Some(PeerFault::MetadataTimeout));
            bench.wait(seconds(1));
        }
        bench.expect(breaks.then_some(DIALS_BOUNDED));
    }
}

#[test]
fn pieces_are_asked_for_in_range_once_and_under_their_id() {
    let two = 20_000;
    for (size, id, pieces, breaks) in [
        (two, 3, &[0, 1][..], false),
        (two, 3, &[0, 2], true),
        (two, 3, &[1, 1], true),
        (two, 2, &[0], true),
        (two, 0, &[0], true),
        (32 * 1024 * 1024, 3, &[2_047], false),
        (32 * 1024 * 1024 + 1, 3, &[0], true),
        (0, 3, &[0], false),
        (0, 3, &[0, 0], true),
        (0, 3, &[1], true),
        (9, 3, &[0], true),
    ] {
        let mut bench = with_peer();
        shaken(&mut bench, size);
        for piece in pieces {
            bench.wrote(1, &extended(id, request(*piece).as_bytes()));
        }
        bench.expect(breaks.then_some(REQUESTS_IN_ORDER));
    }
}

#[test]
fn the_head_of_a_first_piece_tells_the_size() {
    for (told, piece, breaks) in [
        ("10:total_sizei20000e", 1, false),
        ("10:total_sizei20000e", 2, true),
        ("10:total_sizei9e", 1, true),
        ("", 1, true),
    ] {
        let mut bench = with_peer();
        shaken(&mut bench, 0);
        bench.wrote(1, &extended(3, request(0).as_bytes()));
        bench.read(1, &first_piece(told)[..2_000]);
        bench.wrote(1, &extended(3, request(piece).as_bytes()));
        bench.expect(breaks.then_some(REQUESTS_IN_ORDER));
    }
}

#[test]
fn a_new_id_counts_from_then_on_and_zero_means_never() {
    for (announced, used, breaks) in [(5, 5, false), (5, 3, true), (0, 3, true)] {
        let mut bench = with_peer();
        shaken(&mut bench, 20_000);
        bench.wrote(1, &extended(3, request(0).as_bytes()));
        let theirs = format!("d1:md11:ut_metadatai{announced}eee");
        bench.read(1, &extended(0, theirs.as_bytes()));
        bench.wrote(1, b"");
        bench.wrote(1, &extended(used, request(1).as_bytes()));
        bench.expect(breaks.then_some(REQUESTS_IN_ORDER));
    }
}

fn reject(piece: u32) -> Vec<u8> {
    extended(2, format!("d8:msg_typei2e5:piecei{piece}ee").as_bytes())
}

/// A conversation about so many pieces, all of which were asked for at once.
fn asked_for(pieces: u32) -> Bench {
    let mut bench = with_peer();
    shaken(&mut bench, pieces as usize * 16_384);
    let asked: Vec<_> = (0..pieces).map(|n| extended(3, request(n).as_bytes())).collect();
    bench.wrote(1, &asked.concat());
    bench
}

#[test]
fn a_rejected_piece_may_be_asked_for_again_after_a_pause_if_others_came() {
    // Of three pieces, where the last is answered too or not.
    for (comes, answered, wait, breaks) in [
        (true, true, 500, false),
        (true, true, 499, true),
        (true, false, 400, false),
        (true, false, 399, true),
        (false, true, 5_000, true),
    ] {
        let mut bench = asked_for(3);
        let first = if comes { first_piece("") } else { reject(0) };
        bench.read(1, &first);
        bench.read(1, &reject(1));
        if answered {
            bench.read(1, &reject(2));
        }
        bench.wait(Duration::from_millis(wait));
        bench.wrote(1, &extended(3, request(1).as_bytes()));
        bench.expect(breaks.then_some(REQUESTS_IN_ORDER));
    }
}

#[test]
fn what_came_is_not_asked_for_again_and_what_did_not_come_is() {
    for (again, breaks) in [(0, true), (1, false)] {
        let mut bench = asked_for(2);
        bench.read(1, &first_piece(""));
        bench.wait(seconds(5));
        bench.wrote(1, &extended(3, request(again).as_bytes()));
        bench.expect(breaks.then_some(REQUESTS_IN_ORDER));
    }
}

#[test]
fn a_peer_that_refuses_round_after_round_is_left() {
    for (rounds, breaks) in
        [(u32::from(BARREN_ROUNDS_MAX), false), (u32::from(BARREN_ROUNDS_MAX) + 1, true)]
    {
        let mut bench = asked_for(2);
        bench.read(1, &first_piece(""));
        for _ in 0..rounds {
            bench.read(1, &reject(1));
            bench.wait(seconds(5));
            bench.wrote(1, &extended(3, request(1).as_bytes()));
        }
        bench.expect(breaks.then_some(REQUESTS_IN_ORDER));
    }
}

#[test]
fn nothing_but_metadata_is_asked_for_and_only_after_their_handshake() {
    let early = |bench: &mut Bench| {
        bench.dial(1, peer(1));
        bench.connected(1);
        bench.wrote(1, &handshake(hash_of(RAW)));
    };
    for (bytes, read_first, breaks) in [
        (extended(0, b"d1:md11:ut_metadatai2eee"), true, false),
        (extended(0, b"d1:md11:ut_metadatai2eee"), false, true),
        (b"\0\0\0\x01\x02".to_vec(), true, true),
        (extended(3, b"d8:msg_typei2e5:piecei0ee"), true, true),
    ] {
        let mut bench = with_peer();
        early(&mut bench);
        if read_first {
            bench.read(1, &handshake(hash_of(RAW)));
        }
        bench.wrote(1, &bytes);
        bench.expect(breaks.then_some(REQUESTS_IN_ORDER));
    }
}

#[test]
fn nothing_follows_an_outcome() {
    let mut bench = with_peer();
    fetched(&mut bench);
    bench.expect(None);
    bench.wrote(1, &extended(3, request(0).as_bytes()));
    bench.expect(Some(SILENT_AFTER_END));
    let mut bench = with_peer();
    bench.dial(1, peer(1));
    bench.wrote(1, &handshake(hash_of(RAW)));
    bench.expect(Some(SILENT_AFTER_END));
}

#[test]
fn every_due_torrent_is_emitted_in_the_end() {
    for (emitted, breaks) in [(true, None), (false, Some(TORRENTS_FOUND))] {
        let mut bench = with_peer();
        let due = Due { hash: hash_of(RAW), node: node(1), peer: peer(1) };
        bench.truth().due.push(due);
        bench.healed();
        let pending = bench.checker.pending().expect("the torrent");
        assert!(pending.contains("node 20.1.1.1:6881 exposes it, peer 30.1.1.1:7000"), "{pending}");
        fetched(&mut bench);
        if emitted {
            bench.verified(&verified(hash_of(RAW), RAW, vec![peer(1)]));
        }
        assert_eq!(bench.checker.pending().is_none(), emitted);
        bench.finish();
        bench.expect(breaks);
    }
}

#[test]
fn a_run_is_over_once_what_it_cut_off_is_reported_or_the_grace_is_over() {
    for (cut_ms, saved, breaks) in [
        (700, Some(700), false),
        (700, Some(699), true),
        (700, Some(1_701), true),
        (60_000, Some(1_500), false),
        (60_000, Some(1_499), true),
        (0, Some(0), false),
        (0, None, true),
    ] {
        let mut bench = with_peers(Scenario { cut_ms, ..Scenario::calm(1) }, &[peer(1)]);
        let state = snapshot(ID, &[]);
        bench.dial(1, peer(1));
        bench.shut_down();
        bench.ended(1, Some(PeerFault::Aborted));
        if let Some(millis) = saved {
            bench.wait(Duration::from_millis(millis));
            bench.saved(&state, true);
        }
        bench.wait(seconds(5));
        bench.finish();
        bench.expect(breaks.then_some(ENDS_ON_TIME));
    }
}

#[test]
fn a_connection_left_open_after_shutdown_is_not_idle() {
    let mut bench = with_peer();
    bench.dial(1, peer(1));
    bench.shut_down();
    bench.finish();
    bench.expect(Some(IDLE_AFTER_SHUTDOWN));
}
