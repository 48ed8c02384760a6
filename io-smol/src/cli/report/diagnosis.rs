//! Why a run has nothing to show: the first stage of the funnel that let nothing through; and which
//! transport never let anything through, whatever there is to show.

use estudely_core::{AddressPolicy, Mode, PeerFault, Stats};

use super::errors;
use crate::engine::run::{Ended, Report};
use crate::text::counted;

/// Accepted connections after which a transport that never got further is worth a word.
const TELLING_TRIES: u64 = 200;

/// Lines for a run that verified nothing, or in [`Mode::Peers`] found no peer, and for a transport
/// that never got anywhere; none otherwise.
pub fn diagnose(report: &Report, mode: Mode, policy: AddressPolicy) -> Vec<String> {
    let mut lines = nothing_found(report, mode, policy);
    lines.extend(never_encrypted(&report.stats));
    lines
}

/// What to say when many peers accepted an encrypted connection and none answered on it.
fn never_encrypted(stats: &Stats) -> Option<String> {
    let Stats { tcp_dialled, mse_connected, mse_handshaken, .. } = *stats;
    let cure =
        if tcp_dialled == 0 { "auto asks in the clear first" } else { "off does without them" };
    (mse_connected >= TELLING_TRIES && mse_handshaken == 0).then(|| {
        format!(
            "no peer answered {mse_connected} encrypted connections: they may be filtered on the \
             way; --encryption {cure}"
        )
    })
}

fn nothing_found(report: &Report, mode: Mode, policy: AddressPolicy) -> Vec<String> {
    let stats = &report.stats;
    let wanted = if mode.dials() { stats.verified } else { stats.infohashes_with_peers };
    if wanted > 0 {
        return Vec::new();
    }
    if had_nothing_to_do(report, mode) {
        let line = "nothing to do: everything asked for is settled already, by outputs or state";
        return vec![line.to_owned()];
    }
    let mut lines = Vec::new();
    if report.bootstrap.names_failed > 0 {
        lines.push(format!(
            "DNS failed for {}: does name resolution work?",
            counted(report.bootstrap.names_failed.into(), "bootstrap name")
        ));
    }
    let why = if mode.uses_dht() { dht(report, mode, policy) } else { None };
    let why = why.or_else(|| if mode.dials() { peers(stats, policy) } else { None });
    lines.extend(why.map(|why| format!("nothing found: {why}")));
    lines
}

/// So many tries without any success say something of what carried them.
const TRIES: u64 = 200;

/// A line for each transport that never worked in many tries, whatever else the run has found.
pub(super) fn dead_transports(stats: &Stats) -> Vec<String> {
    let utp = stats.utp_dialled + stats.utp_mse_dialled;
    let tcp = stats.tcp_dialled + stats.mse_dialled;
    let mut lines = Vec::new();
    if tcp >= TRIES && stats.tcp_connected + stats.mse_connected == 0 {
        lines.push(format!(
            "no TCP connection was accepted in {tcp} tries: TCP to peers may be filtered"
        ));
    }
    if utp >= TRIES && stats.utp_packets_received == 0 {
        // Most tries are on addresses where nobody is, and not every peer takes uTP.
        lines.push(format!(
            "no uTP packet came back in {utp} tries: UDP to peers may be filtered, or none of them \
             takes uTP"
        ));
    }
    lines
}

/// Whether a list came to its end without anything on it being new: then nobody was asked for it,
/// and whether anybody would have answered says nothing.
fn had_nothing_to_do(report: &Report, mode: Mode) -> bool {
    let stats = &report.stats;
    mode == Mode::Fetch
        && report.ended == Ended::RequestsDone
        && stats.infohashes_new + stats.unfinished == 0
        && stats.queries_get_peers + stats.dialled == 0
}

/// Where the way to peers ends, if it does.
fn dht(report: &Report, mode: Mode, policy: AddressPolicy) -> Option<String> {
    let stats = &report.stats;
    let queries = stats.queries();
    let replies = stats.answered + stats.refused;
    if queries == 0 && stats.dialled > 0 {
        return None; // the peers that were named come first
    }
    if queries == 0 {
        return Some(
            "no query was sent: the run ended before a bootstrap address was known".into(),
        );
    }
    if replies == 0 {
        let why = match report.udp.last_failure {
            Some(kind) => {
                format!("the system did not send {} of them: {kind}", report.udp.send_failures)
            }
            None => "is UDP blocked?".to_owned(),
        };
        let queries =
            if queries == 1 { "the only query".to_owned() } else { format!("{queries} queries") };
        return Some(format!("no node answered {queries}; {why}"));
    }
    if stats.answered == 0 {
        return Some(only_refusals(stats));
    }
    if stats.contacts_answered == 0 || stats.contacts_heard == 0 {
        return Some(format!("nodes answered, but named no usable contact{}", private(policy)));
    }
    if mode.sweeps() {
        if stats.nodes_sampling == 0
            && let Some(resting) = resting(report)
        {
            return Some(resting);
        }
        if stats.queries_sample == 0 {
            return Some("the run ended before a node was asked for samples".into());
        }
        if stats.nodes_sampling == 0 {
            return Some(format!(
                "{} answered, but none samples infohashes (BEP 51); run longer, or use other \
                 bootstrap nodes",
                counted(stats.contacts_answered, "node")
            ));
        }
        if stats.infohashes_sampled == 0 {
            return Some("nodes sample, but none of them stores an infohash".into());
        }
        if stats.infohashes_new == 0 {
            return Some("every infohash met is settled already, by outputs or state".into());
        }
    }
    if stats.infohashes_with_peers == 0 && stats.dialled == 0 {
        return Some("no node named a usable peer for any infohash".into());
    }
    None
}

/// What to say when no node was found to sample beside those that the state knows and that must
/// not be asked yet; `None` if there are none.
fn resting(report: &Report) -> Option<String> {
    let resting = report.state.as_ref()?.restored?.resting;
    (resting > 0).then(|| {
        let nodes = counted(resting as u64, "node");
        format!(
            "{nodes} of the state must not be sampled yet, for 6 hours at most, and no other node \
             samples; run longer, or again later"
        )
    })
}

/// What to say when queries were answered, and none with a reply.
fn only_refusals(stats: &Stats) -> String {
    let unread = stats.refused.saturating_sub(stats.errors());
    match errors(stats) {
        Some(errors) if unread == 0 => format!("nodes answered with errors ({errors})"),
        Some(errors) => {
            format!(
                "nodes answered with errors ({errors}), and {} unreadably",
                counted(unread, "time")
            )
        }
        None => format!("nodes answered {}, each time unreadably", counted(unread, "time")),
    }
}

/// The cure for a swarm on private addresses, if it was not taken.
const fn private(policy: AddressPolicy) -> &'static str {
    match policy {
        AddressPolicy::Public => "; a swarm of your own needs --allow-private",
        AddressPolicy::AllowPrivate => "",
    }
}

/// Where the way from peers to metadata ends.
fn peers(stats: &Stats, policy: AddressPolicy) -> Option<String> {
    let most = || {
        let all = PeerFault::ALL.iter().zip(stats.faults).filter(|(_, count)| *count > 0);
        let most = all.max_by_key(|(_, count)| *count);
        most.map_or(String::new(), |(fault, count)| format!(", most often {fault} ({count})"))
    };
    let dialled = stats.dialled;
    let dials = counted(dialled, "dial");
    let peers = |n| counted(n, "peer");
    let count = |fault: PeerFault| stats.faults[fault as usize];
    let why = if dialled == 0 && stats.infohashes_with_peers > 0 {
        "the run ended before a peer was dialled".to_owned()
    } else if dialled == 0 {
        format!("no peer could be dialled{}", private(policy))
    } else if stats.connected == 0 && count(PeerFault::Aborted) >= dialled {
        format!("the run ended before any of {dials} was accepted or refused")
    } else if stats.connected == 0 && count(PeerFault::Refused) > 0 {
        // Somebody said no: what blocks TCP says nothing, as a rule.
        format!("none of {dials} was accepted{}", most())
    } else if stats.connected == 0 {
        format!("none of {dials} was accepted{}; is outgoing TCP blocked?", most())
    } else if stats.handshaken == 0 {
        format!("{} accepted, none answered the handshake{}", peers(stats.connected), most())
    } else if stats.offering_metadata == 0 {
        format!("{} answered, none offers metadata{}", peers(stats.handshaken), most())
    } else if stats.complete == 0 {
        format!(
            "metadata was offered by {}, and came whole from none{}",
            peers(stats.offering_metadata),
            most()
        )
    } else if stats.broken > 0 {
        "the metadata matches its infohash, but is no torrent".to_owned()
    } else if count(PeerFault::BadHash) > 0 {
        format!("metadata arrived, but did not match its infohash{}", most())
    } else {
        format!("metadata arrived, but was not taken{}", most())
    };
    Some(why)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use estudely_core::state::Restored;

    use super::*;
    use crate::engine::run::{BootstrapReport, UdpReport};
    use crate::files::state::Kept;

    fn lines(mode: Mode, stats: Stats) -> Vec<String> {
        diagnose(&report(stats), mode, AddressPolicy::Public)
    }

    fn report(stats: Stats) -> Report {
        Report {
            stats,
            elapsed: Duration::from_secs(1),
            ended: Ended::Timeout,
            bootstrap: BootstrapReport::default(),
            udp: UdpReport::default(),
            state: None,
        }
    }

    #[test]
    fn a_transport_that_never_works_is_named_after_200_tries() {
        let mut stats = Stats::default();
        (stats.utp_dialled, stats.utp_mse_dialled, stats.tcp_dialled) = (150, 49, 199);
        assert_eq!(dead_transports(&stats), [""; 0]);
        (stats.utp_mse_dialled, stats.mse_dialled) = (50, 1);
        let lines = [
            "no TCP connection was accepted in 200 tries: TCP to peers may be filtered",
            "no uTP packet came back in 200 tries: UDP to peers may be filtered, or none of them \
             takes uTP",
        ];
        assert_eq!(dead_transports(&stats), lines);
        (stats.utp_packets_received, stats.mse_connected) = (1, 1);
        assert_eq!(dead_transports(&stats), [""; 0]);
    }

    #[test]
    fn each_stage_that_runs_dry_is_named() {
        let mut stats = Stats::default();
        let mut check = |change: fn(&mut Stats), expected: &str| {
            change(&mut stats);
            let lines = lines(Mode::Crawl, stats.clone());
            assert_eq!(lines.len(), 1);
            assert!(lines[0].contains(expected), "{lines:?} lacks {expected:?}");
        };
        check(|_| {}, "no query was sent");
        check(|s| s.queries_find_node = 8, "no node answered 8 queries; is UDP blocked?");
        check(
            |s| (s.refused, s.errors_201, s.errors_204) = (13, 12, 1),
            "nodes answered with errors (201 x 12, 204 x 1)",
        );
        check(|s| s.refused = 15, "204 x 1), and 2 times unreadably");
        check(|s| s.answered = 5, "named no usable contact");
        check(
            |s| (s.contacts_heard, s.contacts_answered) = (9, 5),
            "ended before a node was asked for samples",
        );
        check(|s| s.queries_sample = 3, "5 nodes answered, but none samples");
        check(|s| s.nodes_sampling = 2, "none of them stores an infohash");
        check(|s| s.infohashes_sampled = 4, "settled already, by outputs or state");
        check(|s| s.infohashes_new = 4, "no node named a usable peer");
        check(|s| s.infohashes_with_peers = 3, "ended before a peer was dialled");
        check(
            |s| {
                s.dialled = 6;
                s.faults[PeerFault::Refused as usize] = 6;
            },
            "none of 6 dials was accepted, most often refused (6)",
        );
        check(|s| s.connected = 5, "5 peers accepted, none answered the handshake");
        check(|s| s.handshaken = 4, "4 peers answered, none offers metadata");
        check(
            |s| s.offering_metadata = 3,
            "metadata was offered by 3 peers, and came whole from none",
        );
        check(|s| s.complete = 2, "but was not taken");
        check(|s| s.faults[PeerFault::BadHash as usize] = 2, "did not match its infohash");
        check(|s| s.broken = 1, "is no torrent");
    }

    #[test]
    fn a_list_that_was_done_already_blames_nobody() {
        let mut stats = Stats::default();
        stats.queries_find_node += 1;
        let said = |stats: &Stats, mode, ended| {
            let mut report = Report { ended, ..report(stats.clone()) };
            report.bootstrap.names_failed = 1;
            diagnose(&report, mode, AddressPolicy::Public).join(" ")
        };
        let done = said(&stats, Mode::Fetch, Ended::RequestsDone);
        assert!(done.starts_with("nothing to do: everything asked for is settled"), "{done}");
        let others = [(Mode::Fetch, Ended::Timeout), (Mode::Crawl, Ended::Idle)];
        for (mode, ended) in others {
            assert!(said(&stats, mode, ended).contains("no node answered"), "{mode:?}");
        }
        stats.infohashes_new += 1;
        let tried = said(&stats, Mode::Fetch, Ended::RequestsDone);
        assert!(tried.contains("no node answered"), "{tried}");
    }

    #[test]
    fn nodes_that_rest_are_not_said_to_sample_nothing() {
        let mut stats = Stats::default();
        (stats.queries_find_node, stats.queries_sample, stats.answered) = (8, 3, 5);
        (stats.contacts_heard, stats.contacts_answered) = (9, 5);
        let mut report = report(stats);
        let said = |report: &mut Report, resting| {
            let mut restored = Restored::default();
            restored.resting = resting;
            report.state = Some(Kept { restored: Some(restored), ..Kept::default() });
            diagnose(report, Mode::Crawl, AddressPolicy::Public).join(" ")
        };
        assert!(said(&mut report, 0).contains("none samples"));
        assert!(
            said(&mut report, 7)
                .starts_with("nothing found: 7 nodes of the state must not be sampled yet")
        );
        report.stats.queries_sample = 0;
        assert!(said(&mut report, 7).contains("6 hours at most"));
    }

    #[test]
    fn a_run_with_results_needs_no_reason() {
        let mut stats = Stats::default();
        stats.verified += 1;
        assert!(lines(Mode::Crawl, stats).is_empty());
        let mut stats = Stats::default();
        stats.infohashes_with_peers += 1;
        assert!(lines(Mode::Peers, stats).is_empty());
    }

    #[test]
    fn encryption_that_never_gets_through_is_said_even_beside_results() {
        let mut stats = Stats::default();
        (stats.verified, stats.tcp_dialled, stats.mse_connected) = (1, 900, TELLING_TRIES - 1);
        assert_eq!(lines(Mode::Crawl, stats.clone()), [""; 0], "it may be chance");
        stats.mse_connected += 1;
        let said = "no peer answered 200 encrypted connections: they may be filtered on the way; \
                    --encryption off does without them";
        assert_eq!(lines(Mode::Crawl, stats.clone()), [said]);
        stats.tcp_dialled = 0;
        let said = lines(Mode::Fetch, stats.clone());
        assert!(said[0].ends_with("--encryption auto asks in the clear first"), "{said:?}");
        stats.mse_handshaken = 1;
        assert_eq!(lines(Mode::Crawl, stats), [""; 0]);
    }

    #[test]
    fn failed_names_and_refused_datagrams_are_said() {
        let mut stats = Stats::default();
        stats.queries_ping += 1;
        let mut report = report(stats);
        report.bootstrap.names_failed = 2;
        report.udp.send_failures = 1;
        report.udp.last_failure = Some(io::ErrorKind::NetworkUnreachable);
        let lines = diagnose(&report, Mode::Crawl, AddressPolicy::Public);
        assert!(lines[0].starts_with("DNS failed for 2 bootstrap names"), "{lines:?}");
        assert!(lines[1].contains("did not send 1 of them: network unreachable"), "{lines:?}");
    }

    #[test]
    fn without_the_dht_only_peers_are_to_blame() {
        let mut stats = Stats::default();
        stats.dialled += 1;
        let said = lines(Mode::Direct, stats.clone());
        assert!(said[0].ends_with("is outgoing TCP blocked?"), "{said:?}");
        assert!(said[0].contains("none of 1 dial was accepted"), "{said:?}");
        stats.faults[PeerFault::Refused as usize] += 1;
        let said = lines(Mode::Direct, stats.clone());
        assert!(said[0].ends_with("most often refused (1)"), "{said:?}");
        stats.faults = Default::default();
        stats.faults[PeerFault::Aborted as usize] += 1;
        assert!(lines(Mode::Direct, stats)[0].contains("the run ended before"));
    }

    #[test]
    fn a_cure_that_was_taken_is_not_given_again() {
        let mut stats = Stats::default();
        (stats.queries_find_node, stats.answered) = (1, 1);
        let said = diagnose(&report(stats), Mode::Crawl, AddressPolicy::AllowPrivate);
        assert!(said[0].ends_with("named no usable contact"), "{said:?}");
    }
}
