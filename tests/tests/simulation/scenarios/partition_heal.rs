//! The crawler is cut off from everybody for minutes in the middle of its crawl, in both directions
//! or in one (what it sends is lost, or what is answered), and the cut heals.
//!
//! While nobody is heard nothing that fails is anybody's fault: no infohash is given up, however
//! many questions stay open. Thirteen seconds in (queries expire after six, sixteen of them make
//! the network suspect, six more seconds without an answer make it an outage) only one ping a
//! second goes out, and `find_node` to the bootstrap nodes on their schedule. At most a second and
//! a round trip after the heal a ping is answered, and the crawl goes on; from then on it takes as
//! long as the same crawl without a partition takes from the instant of the cut, and for each query
//! that was lost before the outage was noticed one more (a silent node is asked `find_node` first,
//! and then again for samples), the last of which must have expired.

use std::collections::BTreeSet;

use estudely_core::limits::{EXPIRE_AFTER, OUTAGE_AFTER, OUTAGE_HOLD, OUTAGE_PROBE_EVERY};
use estudely_core::{Duration, Family};
use estudely_sim::link::{Cut, Direction, Link, Partition, Shard};
use estudely_sim::scenario::Scenario;

use crate::tape::{Asks, Played, Query, play};

const RATE: u32 = 10;
/// Sixteen queries at that rate.
const UNHEARD: Duration = Duration::from_millis(1_600);
/// There and back at most: twice 70 ms.
const ROUND_TRIP: Duration = Duration::from_millis(140);

fn cut(seed: u64, one_way: u32) -> (Scenario, Partition) {
    let slow = Scenario { rate: RATE, broken_s: 400, ..Scenario::calm(seed) };
    let scenario = Scenario { partitions: 1, partition_s: 120, one_way, ..slow };
    let partition = Link::new(&scenario, Shard::WHOLE).partitions()[0];
    (scenario, partition)
}

/// What was sent while the crawler knew that it was cut off.
fn during(played: &Played, cut: Partition) -> Vec<Query> {
    let known = cut.from + EXPIRE_AFTER + UNHEARD + OUTAGE_AFTER + OUTAGE_PROBE_EVERY;
    let queries = played.tape.queries.iter().copied();
    queries.filter(|query| query.at >= known && query.at < cut.until).collect()
}

fn check(seed: u64, one_way: u32, way: Cut) {
    let (scenario, cut) = cut(seed, one_way);
    assert_eq!(cut.cut, way);
    let length = cut.until.since(cut.from);
    assert!(length >= Duration::from_secs(120) && length < OUTAGE_HOLD);
    let calm = play(&Scenario { partitions: 0, ..scenario.clone() });
    let played = play(&scenario);
    let tape = &played.tape;
    assert!(calm.tape.found_all() > cut.from + EXPIRE_AFTER, "there is something left to find");

    assert_eq!(tape.failed, [], "a partition below five minutes costs no infohash");
    let found = |played: &Played| played.tape.verified.keys().copied().collect::<BTreeSet<_>>();
    assert_eq!(found(&played), found(&calm));
    assert_eq!(tape.stats.outages, 1);

    let sent = during(&played, cut);
    let bootstraps = played.universe.bootstrap(Family::V4);
    let pings: Vec<_> = sent.iter().filter(|query| query.asks == Asks::Ping).collect();
    // Bootstrap nodes whose turn it is may take the allowance of some tenths of a second.
    let most = OUTAGE_PROBE_EVERY + Duration::from_millis(100) * (bootstraps.len() as u32 + 1);
    let gaps = pings.windows(2).map(|pair| pair[1].at.since(pair[0].at));
    assert!(gaps.clone().all(|gap| gap >= OUTAGE_PROBE_EVERY && gap <= most), "{:?}", gaps.max());
    assert!(pings.len() as u64 >= length.as_secs() - 20, "{} pings in {length:?}", pings.len());
    let others = sent.iter().filter(|query| query.asks != Asks::Ping);
    for query in others.clone() {
        assert!(query.asks == Asks::FindNode && bootstraps.contains(&query.to), "{query:?}");
    }
    assert!(others.count() <= 8 * bootstraps.len(), "their pauses double");

    let heard = tape.arrivals.iter().map(|(at, _)| *at).find(|at| *at >= cut.until);
    let heard = heard.expect("somebody answers").since(cut.until);
    assert!(heard <= OUTAGE_PROBE_EVERY + ROUND_TRIP, "the first answer came after {heard:?}");
    let left_before = calm.tape.found_all().since(cut.from);
    let left_after = tape.found_all().since(cut.until);
    let sent_into_it = |query: &&Query| query.at + ROUND_TRIP >= cut.from && query.at < cut.until;
    let lost = tape.queries.iter().filter(sent_into_it).count() - sent.len();
    let asking_twice = Duration::from_secs(1) * lost as u32 / RATE;
    let most = left_before + OUTAGE_PROBE_EVERY + ROUND_TRIP + EXPIRE_AFTER + asking_twice;
    assert!(left_after <= most, "{left_before:?} were left, {left_after:?} it took, {lost} lost");
}

#[test]
fn cut_off_in_both_directions() {
    check(13, 0, Cut::Both);
    check(23, 0, Cut::Both);
    check(36, 0, Cut::Both);
}

#[test]
fn what_it_sends_is_lost() {
    check(23, 100, Cut::One(Direction::Out));
    check(112, 100, Cut::One(Direction::Out));
}

#[test]
fn what_is_answered_is_lost() {
    check(13, 100, Cut::One(Direction::In));
    check(47, 100, Cut::One(Direction::In));
}
