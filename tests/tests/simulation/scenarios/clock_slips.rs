//! The crawler's clock stands still, or steps back, sixteen times by up to five seconds while it
//! works (H47). It then does everything that it does with a good clock, and nothing twice: the same
//! queries to the same nodes, each as often, and the same torrents. It is later by no more than the
//! clock lost, since the time it has to wait for its allowance is told by that clock.

use std::collections::BTreeMap;

use estudely_core::Duration;
use estudely_sim::scenario::Scenario;

use crate::tape::{Asks, Played, Query, play};

/// Most that one slip loses.
const LOST_MAX: Duration = Duration::from_secs(5);
const SLIPS: u32 = 16;
/// Most questions about gaps that one of two runs asks more than the other.
const CONTACTS_MORE: usize = 20;
/// Lookups that one run may make more than the other.
const LOOKUPS_MORE: usize = 20;

fn slipping(seed: u64, clock_stalls: u32) -> Played {
    let slow = Scenario { rate: 20, broken_s: 80, clock_stalls, ..Scenario::calm(seed) };
    play(&slow)
}

/// How often each node was asked what kind of question.
fn asked(played: &Played) -> BTreeMap<(std::net::SocketAddr, Asks), u32> {
    let mut asked = BTreeMap::new();
    for query in &played.tape.queries {
        // Who is asked for the peers of a torrent is whoever named it first, and about which gaps
        // somebody is asked depends on which answers were in.
        if !matches!(query.asks, Asks::GetPeers(_) | Asks::FindNode) {
            *asked.entry((query.to, query.asks)).or_default() += 1;
        }
    }
    asked
}

#[test]
fn a_clock_that_stands_still_or_steps_back_only_delays() {
    for seed in [43, 44] {
        let good = slipping(seed, 0);
        let bad = slipping(seed, SLIPS);
        assert_eq!(asked(&bad), asked(&good));
        assert!(asked(&bad).values().all(|&times| times == 1), "nobody is asked twice");
        let lookups = |played: &Played| {
            let get_peers = |query: &&Query| matches!(query.asks, Asks::GetPeers(_));
            played.tape.queries.iter().filter(get_peers).count()
        };
        // Which of two sources is asked first depends on what came of others until then.
        let [good_lookups, bad_lookups] = [&good, &bad].map(lookups);
        assert!(good_lookups.abs_diff(bad_lookups) <= LOOKUPS_MORE, "{good_lookups} {bad_lookups}");
        let contacts = [&good, &bad].map(|played| played.tape.asking(Asks::FindNode).count());
        assert!(contacts[0].abs_diff(contacts[1]) <= CONTACTS_MORE, "{contacts:?}");
        assert_eq!(bad.tape.dials.len(), good.tape.dials.len());
        assert!(bad.tape.verified.keys().eq(good.tape.verified.keys()));
        assert_eq!(bad.tape.stats.expired, 0);
        let late = bad.tape.found_all().since(good.tape.found_all());
        assert!(late > LOST_MAX && late <= LOST_MAX * SLIPS, "{late:?}");
    }
}
