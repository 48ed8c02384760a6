//! The core's uTP against this acceptor, over links that lose, double, delay and reorder.

mod hostile;
mod hosts;
mod link;

use estudely_core::utp::{Fault, State};
use proptest::prelude::*;

use self::link::{Conversation, Link};
use super::Manners;

/// Bytes that differ from place to place.
pub(super) fn bytes(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8) ^ (at >> 8) as u8 ^ salt).collect()
}

/// What is said in `up` and `down`; panics unless it arrives, or only a part and a fault is named.
fn converse(link: Link, manners: Manners, seed: u64, up: &[u8], down: &[u8]) -> State {
    let mut talk = Conversation::new(link, manners, seed, up, down);
    talk.run();
    let heard = talk.acceptor_received();
    assert!(up.starts_with(&heard), "what arrives there is what was written");
    assert!(down.starts_with(&talk.received), "what arrives here is what was written");
    match talk.stream.state() {
        State::Closed => {
            assert_eq!(heard.len(), up.len());
            assert_eq!(talk.received.len(), down.len());
        }
        State::Failed(_) => {}
        // Only the other end gave up; how long to wait for one that is silent is the caller's.
        State::Connected if talk.acceptor_is_gone() => {}
        state => panic!("it neither ends nor fails: {state:?} at {:?}", talk.now),
    }
    talk.stream.state()
}

#[test]
fn a_clean_path_carries_a_mebibyte_in_about_as_many_round_trips_as_it_needs() {
    let link = Link { delay_ms: 50..50, ..Link::clean() };
    let down = bytes(1 << 20, 3);
    let mut talk = Conversation::new(link, Manners::default(), 7, b"please", &down);
    talk.run();
    assert_eq!(talk.stream.state(), State::Closed);
    assert_eq!(talk.received, down);
    // 100 ms each: the window doubles from 2 to 256 packets, then 3 full ones, the SYN and the end.
    assert!(talk.now.as_millis() < 2_000, "{:?}", talk.now);
    assert_eq!(talk.acceptor_sent_again, 0, "nothing is lost, nothing is sent again");
}

#[test]
fn a_path_that_loses_two_in_a_hundred_still_carries_everything() {
    for seed in 0..20 {
        let link = Link { loss: 2, delay_ms: 40..60, seed, ..Link::clean() };
        let (up, down) = (bytes(20_000, 1), bytes(300_000, 2));
        let state = converse(link, Manners::default(), seed, &up, &down);
        assert_eq!(state, State::Closed, "seed {seed}");
    }
}

#[test]
fn a_path_that_carries_nothing_ends_in_a_fault_by_the_deadline() {
    let link = Link { loss: 100, ..Link::clean() };
    let mut talk = Conversation::new(link, Manners::default(), 1, b"up", b"down");
    talk.run();
    assert_eq!(talk.stream.state(), State::Failed(Fault::ConnectTimeout));
    assert_eq!(talk.now.as_millis(), 20_000);
}

#[test]
fn a_path_that_breaks_ends_in_a_fault_where_something_was_to_be_delivered() {
    let link = Link { breaks_ms: Some(500), ..Link::clean() };
    let up = bytes(200_000, 1);
    let state = converse(link, Manners::default(), 1, &up, b"");
    assert_eq!(state, State::Failed(Fault::DeliveryTimeout));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_loss_order_doubling_and_delay_delivers_the_same_bytes_or_names_a_fault(
        seed in any::<u64>(),
        (loss, double) in (0..40_u32, 0..30_u32),
        (least, spread) in (0..400_u64, 1..600_u64),
        (up, down) in (1..30_000_usize, 0..60_000_usize),
        (first, segment, clock) in (any::<u16>(), 1..1_452_usize, any::<u32>()),
        expects in any::<bool>(),
    ) {
        let delay_ms = least..least + spread;
        let link = Link { loss, double, delay_ms, seed, expects, ..Link::clean() };
        // A window of two small packets fills slowly.
        let down = if segment < 200 || !expects { down / 16 } else { down };
        let manners = Manners { first, segment, clock, ..Manners::default() };
        converse(link, manners, seed, &bytes(up, 5), &bytes(down, 9));
    }

    #[test]
    fn a_path_that_never_loses_two_in_a_row_always_delivers(
        seed in any::<u64>(),
        loss in 0..8_u32,
        first in any::<u16>(),
        (up, down) in (1..30_000_usize, 0..200_000_usize),
    ) {
        let is_fair = true;
        let link = Link { loss, is_fair, double: 5, delay_ms: 10..80, seed, ..Link::clean() };
        let manners = Manners { first, ..Manners::default() };
        let state = converse(link, manners, seed, &bytes(up, 5), &bytes(down, 9));
        prop_assert_eq!(state, State::Closed);
    }
}
