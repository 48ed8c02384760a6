//! The planted bugs as the simulator knows them: which rule must notice each, and a small world in
//! which it soon does.

use estudely_core::internal::planted::Bug;

use crate::world::scenario::Scenario;

/// A planted bug, what must catch it, and where.
#[derive(Clone, Copy, Debug)]
pub struct Injection {
    /// The bug.
    pub bug: Bug,
    /// The rules that may notice it: numbers or letters as the checker names them. The first is
    /// the one that it was planted for.
    pub rules: &'static [&'static str],
    /// How its world differs from a calm one.
    setting: &'static [(&'static str, &'static str)],
}

/// Makes the table readable: bug, rules, setting.
const fn injection(
    bug: Bug,
    rules: &'static [&'static str],
    setting: &'static [(&'static str, &'static str)],
) -> Injection {
    Injection { bug, rules, setting }
}

/// Every planted bug, in the order of [`Bug::ALL`].
pub const INJECTIONS: &[Injection] = &[
    injection(Bug::SkipHash, &["1"], &[("hostile_peers", "60"), ("peer_vices", "bad-hash")]),
    injection(Bug::StrideOne, &["5"], &[]),
    injection(Bug::IgnoreInterval, &["3"], &[("broken_s", "600")]),
    injection(Bug::ForeignExtensionId, &["11"], &[]),
    injection(Bug::UnmatchedReply, &["5", "18"], &[("forged", "500")]),
    injection(
        Bug::DropReplyOnBogon,
        &["18", "4"],
        &[("hostile_nodes", "30"), ("node_vices", "martian-nodes")],
    ),
    injection(Bug::PieceIndexUnchecked, &["11"], &[]),
    injection(Bug::UnboundedFrontier, &["10", "3", "6"], &[]),
    injection(
        Bug::MartianContacts,
        &["7"],
        &[("hostile_nodes", "30"), ("node_vices", "martian-nodes")],
    ),
    injection(
        Bug::NoAddressPacing,
        &["6"],
        &[("torrents", "600"), ("hostile_nodes", "50"), ("node_vices", "many-samples")],
    ),
    injection(Bug::UnlimitedDials, &["9"], &[("connections", "5"), ("dead_peers", "50")]),
    injection(Bug::RepeatedRows, &["2"], &[]),
    injection(
        Bug::EndlessExchange,
        &["9"],
        &[("hostile_peers", "60"), ("peer_vices", "drip"), ("broken_s", "300")],
    ),
    injection(Bug::RateUnlimited, &["6"], &[("rate", "50")]),
    injection(Bug::MissingReadOnly, &["8"], &[]),
    injection(Bug::StaleTransactions, &["8"], &[]),
    injection(Bug::EndlessQuery, &["4"], &[("dead_nodes", "30")]),
    injection(Bug::BackwardClock, &["17", "panic"], &[("clock_stalls", "8"), ("connections", "3")]),
    injection(Bug::StaleDeadline, &["16", "panic"], &[]),
    injection(Bug::ForgetPending, &["c"], &[("crashes", "5"), ("connections", "8")]),
    injection(
        Bug::SettledBeforeWritten,
        &["c"],
        &[("crashes", "8"), ("connections", "8"), ("rate", "100")],
    ),
    injection(Bug::CalendarWithoutSamples, &["c"], &[("crashes", "5"), ("connections", "8")]),
    injection(Bug::ForgetKnown, &["15", "2", "18", "panic"], &[]),
    injection(Bug::SplitFrames, &["22"], &[]),
    // With a clock that slips, which must excuse nothing here.
    injection(
        Bug::AskTwice,
        &["14", "panic"],
        &[("dead_nodes", "30"), ("dead_peers", "60"), ("clock_stalls", "1")],
    ),
    // Long enough for a snapshot with contacts before the crash.
    injection(
        Bug::RoutersAtOnce,
        &["23"],
        &[("routers", "1"), ("crashes", "2"), ("broken_s", "600")],
    ),
    injection(Bug::EndlessPatience, &["24"], &[("ends", "1"), ("silent_s", "90")]),
    // In the middle of its work.
    injection(Bug::WorkAfterEnd, &["d"], &[("overall_s", "3"), ("rate", "100")]),
    // On a home line, where two of five nodes name none but dead peers.
    injection(
        Bug::FirstComeFirstServed,
        &["e"],
        &[
            ("torrents", "750"),
            ("baiters", "200"),
            ("bait", "dead"),
            ("rate", "200"),
            ("new_flows", "1800"),
            ("broken_s", "1"),
        ],
    ),
    injection(Bug::EarlyLimit, &["25"], &[("ends", "1"), ("max_infohashes", "50")]),
    injection(Bug::HastyIdle, &["25"], &[("ends", "1"), ("idle_s", "240")]),
    injection(Bug::IdleAtWork, &["25"], &[("ends", "1"), ("idle_s", "2")]),
    injection(Bug::PlanNeverFallsBack, &["c"], &[("mse_peers", "50")]),
    // One secret in 256 begins with a zero.
    injection(Bug::UnpaddedSecret, &["26"], &[("mse_peers", "100"), ("torrents", "400")]),
    injection(
        Bug::UtpFlowBudgetIgnored,
        &["6"],
        &[("transports", "both"), ("utp_peers", "100"), ("new_flows", "300")],
    ),
    // What is acknowledged so is not sent again, and the peer has passed over it.
    injection(
        Bug::UtpAcksUnsentTrusted,
        &["e"],
        &[
            ("transports", "both"),
            ("utp_peers", "100"),
            ("hostile_utp", "50"),
            ("utp_vices", "acks-unsent"),
        ],
    ),
    injection(
        Bug::UtpIdConfusion,
        &["e"],
        &[
            ("transports", "both"),
            ("utp_peers", "100"),
            ("hostile_utp", "50"),
            ("utp_vices", "stranger-reset"),
        ],
    ),
    injection(Bug::AbandonedRequests, &["25"], &[("ends", "1"), ("requests", "50")]),
];

impl Injection {
    /// The one called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        INJECTIONS.iter().find(|injection| injection.bug.name() == name)
    }

    /// The small world of `seed` in which the bug soon shows.
    pub fn scenario(&self, seed: u64) -> Scenario {
        let mut scenario = Scenario::calm(seed);
        for (name, value) in self.setting {
            let set = scenario.apply(name, value);
            debug_assert_eq!(set, Ok(()));
        }
        scenario
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_its_injection_with_a_setting_that_can_be_set() {
        let bugs: Vec<Bug> = INJECTIONS.iter().map(|injection| injection.bug).collect();
        assert_eq!(bugs, Bug::ALL);
        for injection in INJECTIONS {
            let name = injection.bug.name();
            assert_eq!(injection.scenario(1).check(), Ok(()), "{name}");
            assert!(!injection.rules.is_empty(), "{name}");
            assert_eq!(Injection::named(name).map(|found| found.bug), Some(injection.bug));
        }
    }
}
