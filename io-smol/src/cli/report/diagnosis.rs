//! Why a run has nothing to show: the first stage of the funnel that let nothing through.

use estudely_core::{Mode, PeerFault, Stats};

use crate::engine::run::Report;

/// Lines for a run that verified nothing, or in [`Mode::Peers`] found no peer; none otherwise.
pub fn diagnose(report: &Report, mode: Mode) -> Vec<String> {
    let stats = &report.stats;
    let wanted = if mode.dials() { stats.verified } else { stats.infohashes_with_peers };
    if wanted > 0 {
        return Vec::new();
    }
    let mut lines = Vec::new();
    if report.bootstrap.names_failed > 0 {
        lines.push(format!(
            "DNS failed for {} bootstrap names: does name resolution work?",
            report.bootstrap.names_failed
        ));
    }
    let why = if mode.uses_dht() { dht(report, mode) } else { None };
    let why = why.or_else(|| if mode.dials() { peers(stats) } else { None });
    lines.extend(why.map(|why| format!("nothing found: {why}")));
    lines
}

/// Where the way to peers ends, if it does.
fn dht(report: &Report, mode: Mode) -> Option<String> {
    let stats = &report.stats;
    let queries = stats.queries();
    let replies = stats.answered + stats.refused;
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
        return Some(format!("no node answered {queries} queries; {why}"));
    }
    if stats.contacts_answered == 0 || stats.contacts_heard == 0 {
        return Some(
            "nodes answered, but named no usable contact; a swarm of your own needs --allow-private"
                .into(),
        );
    }
    if mode.sweeps() {
        if stats.nodes_sampling == 0 {
            return Some(format!(
                "{} nodes answered, but none samples infohashes (BEP 51); run longer, or use other \
                 bootstrap nodes",
                stats.contacts_answered
            ));
        }
        if stats.infohashes_sampled == 0 {
            return Some("nodes sample, but none of them stores an infohash".into());
        }
        if stats.infohashes_new == 0 {
            return Some("every infohash met is verified in the outputs already".into());
        }
    }
    if stats.infohashes_with_peers == 0 && stats.dialled == 0 {
        return Some("no node named a peer for any infohash".into());
    }
    None
}

/// Where the way from peers to metadata ends.
fn peers(stats: &Stats) -> Option<String> {
    let most = || {
        let all = PeerFault::ALL.iter().zip(stats.faults).filter(|(_, count)| *count > 0);
        let most = all.max_by_key(|(_, count)| *count);
        most.map_or(String::new(), |(fault, count)| format!(", most often {fault} ({count})"))
    };
    let dialled = stats.dialled;
    let why = if dialled == 0 {
        "no peer could be dialled; a swarm of your own needs --allow-private".to_owned()
    } else if stats.connected == 0 {
        format!("none of {dialled} dials was accepted{}; is outgoing TCP blocked?", most())
    } else if stats.handshaken == 0 {
        format!("{} peers accepted, none answered the handshake{}", stats.connected, most())
    } else if stats.offering_metadata == 0 {
        format!("{} peers answered, none offers metadata{}", stats.handshaken, most())
    } else if stats.complete == 0 {
        format!("{} peers offer metadata, none sent it whole{}", stats.offering_metadata, most())
    } else if stats.broken > 0 {
        "the metadata matches its infohash, but is no torrent".to_owned()
    } else {
        format!("metadata arrived, but did not match its infohash{}", most())
    };
    Some(why)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::engine::run::{BootstrapReport, Ended, UdpReport};

    fn lines(mode: Mode, stats: Stats) -> Vec<String> {
        diagnose(&report(stats), mode)
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
        check(|s| s.answered = 5, "named no usable contact");
        check(
            |s| (s.contacts_heard, s.contacts_answered) = (9, 5),
            "5 nodes answered, but none samples",
        );
        check(|s| s.nodes_sampling = 2, "none of them stores an infohash");
        check(|s| s.infohashes_sampled = 4, "verified in the outputs already");
        check(|s| s.infohashes_new = 4, "no node named a peer");
        check(|s| s.infohashes_with_peers = 3, "no peer could be dialled");
        check(
            |s| {
                s.dialled = 6;
                s.faults[PeerFault::Refused as usize] = 6;
            },
            "none of 6 dials was accepted, most often refused (6)",
        );
        check(|s| s.connected = 5, "5 peers accepted, none answered the handshake");
        check(|s| s.handshaken = 4, "4 peers answered, none offers metadata");
        check(|s| s.offering_metadata = 3, "3 peers offer metadata, none sent it whole");
        check(|s| s.complete = 2, "did not match its infohash");
        check(|s| s.broken = 1, "is no torrent");
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
    fn failed_names_and_refused_datagrams_are_said() {
        let mut stats = Stats::default();
        stats.queries_ping += 1;
        let mut report = report(stats);
        report.bootstrap.names_failed = 2;
        report.udp.send_failures = 1;
        report.udp.last_failure = Some(io::ErrorKind::NetworkUnreachable);
        let lines = diagnose(&report, Mode::Crawl);
        assert!(lines[0].starts_with("DNS failed for 2 bootstrap names"), "{lines:?}");
        assert!(lines[1].contains("did not send 1 of them: network unreachable"), "{lines:?}");
    }

    #[test]
    fn without_the_dht_only_peers_are_to_blame() {
        let mut stats = Stats::default();
        stats.dialled += 1;
        assert!(lines(Mode::Direct, stats)[0].contains("none of 1 dials was accepted"));
    }
}
