//! The end of a run in words and in JSON: the funnel from contacts to verified metadata, and,
//! when it is empty, where it ran dry.
//!
//! Pure: from a report to lines. Nothing here prints.

mod diagnosis;

use estudely_core::config::Mode;
use estudely_core::fault::PeerFault;
use estudely_core::stats::Stats;
use serde_json::{Map, Value, json};

use crate::progress::share;
use crate::run::{Ended, Report};

pub use diagnosis::diagnose;

/// What the outputs got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows of this run.
    pub rows: u64,
    /// Bytes in all outputs, those of earlier runs included.
    pub bytes: u64,
}

/// The word for why a run ended, as in `--stats`.
pub const fn ended_word(ended: Ended) -> &'static str {
    match ended {
        Ended::Limit => "limit",
        Ended::Timeout => "timeout",
        Ended::Idle => "idle",
        Ended::Signal => "signal",
        Ended::RequestsDone => "requests-done",
        Ended::OutputLimit => "output-limit",
        Ended::OutputClosed => "output-closed",
        Ended::Failed => "error",
    }
}

/// The same for people.
const fn ended_words(ended: Ended) -> &'static str {
    match ended {
        Ended::Limit => "ended: --max-infohashes reached",
        Ended::Timeout => "ended: --overall-timeout reached",
        Ended::Idle => "ended: idle for --until-idle",
        Ended::Signal => "ended: by a signal",
        Ended::RequestsDone => "ended: everything asked for is settled",
        Ended::OutputLimit => "ended: the outputs would grow past --max-output-bytes",
        Ended::OutputClosed => "ended: the reader of the output left",
        Ended::Failed => "ended: by a failure",
    }
}

/// The funnel, line by line: the stages that a run in this mode has.
pub fn funnel(stats: &Stats, mode: Mode) -> Vec<String> {
    let mut lines = Vec::new();
    if mode.uses_dht() {
        lines.push(format!(
            "contacts: {} heard, {} asked, {} answered",
            stats.contacts_heard, stats.contacts_asked, stats.contacts_answered
        ));
    }
    let (new, with_peers) = (stats.infohashes_new, stats.infohashes_with_peers);
    if mode.sweeps() {
        lines.push(format!("nodes that sample: {}", stats.nodes_sampling));
        let sampled = stats.infohashes_sampled;
        lines.push(format!("infohashes: {sampled} sampled, {new} new, {with_peers} with peers"));
    } else {
        lines.push(format!("infohashes: {new} new, {with_peers} with peers"));
    }
    if !mode.dials() {
        lines.push(format!(
            "settled: {} with peers, {} without; {} unfinished",
            stats.settled.saturating_sub(stats.failed),
            stats.failed,
            stats.unfinished
        ));
        return lines;
    }
    lines.push(format!(
        "peers: {} dialled, {} connected, {} handshaken, {} offering metadata, {} complete",
        stats.dialled, stats.connected, stats.handshaken, stats.offering_metadata, stats.complete
    ));
    lines.push(format!(
        "settled: {} verified, {} broken, {} failed; {} unfinished",
        stats.verified, stats.broken, stats.failed, stats.unfinished
    ));
    let failures: Vec<_> = faults(stats).map(|(word, count)| format!("{count} {word}")).collect();
    if !failures.is_empty() {
        lines.push(format!("failed dials: {}", failures.join(", ")));
    }
    lines
}

/// Everything that is said when a run ends: how, the funnel, why it is empty if it is, and last
/// the line for machines.
pub fn closing(
    report: &Report,
    mode: Mode,
    written: Written,
    why_empty: Vec<String>,
) -> Vec<String> {
    let stats = &report.stats;
    let mut lines = vec![ended_words(report.ended).to_owned()];
    lines.extend(funnel(stats, mode));
    lines.extend(why_empty);
    lines.push(format!(
        "rows={} bytes={} nodes={} queries={} answered={} elapsed={:.1}s",
        written.rows,
        written.bytes,
        stats.contacts_answered,
        stats.queries(),
        share(stats.answered, stats.queries()).replace(' ', ""),
        report.elapsed.as_secs_f64(),
    ));
    lines
}

/// Every counter, as `--stats` writes it.
pub fn json(report: &Report, written: Written) -> Value {
    let counters: Map<_, _> =
        report.stats.counters().map(|(name, count)| (name.to_owned(), count.into())).collect();
    let all = PeerFault::ALL.iter().zip(report.stats.faults);
    let faults: Map<_, _> =
        all.map(|(fault, count)| (fault.word().to_owned(), count.into())).collect();
    json!({
        "ended": ended_word(report.ended),
        "elapsed_seconds": report.elapsed.as_secs_f64(),
        "rows": written.rows,
        "output_bytes": written.bytes,
        "counters": counters,
        "faults": faults,
        "bootstrap": {
            "names_resolved": report.bootstrap.names_resolved,
            "names_failed": report.bootstrap.names_failed,
            "addresses_tried": report.bootstrap.addresses_tried,
            "answered": report.bootstrap.answered,
        },
        "udp": {
            "bound": report.udp.bound.iter().flatten().map(ToString::to_string).collect::<Vec<_>>(),
            "send_failures": report.udp.send_failures,
        },
    })
}

/// The faults that happened, by word.
fn faults(stats: &Stats) -> impl Iterator<Item = (&'static str, u64)> {
    let all = PeerFault::ALL.iter().zip(stats.faults);
    all.filter(|(_, count)| *count > 0).map(|(fault, count)| (fault.word(), count))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::run::{BootstrapReport, UdpReport};

    fn report() -> Report {
        let mut stats = Stats {
            contacts_answered: 7,
            queries_sample: 8,
            answered: 4,
            verified: 3,
            dialled: 9,
            ..Stats::default()
        };
        stats.faults[PeerFault::Refused as usize] = 5;
        Report {
            stats,
            elapsed: Duration::from_millis(12_340),
            ended: Ended::Limit,
            bootstrap: BootstrapReport::default(),
            udp: UdpReport::default(),
        }
    }

    #[test]
    fn the_last_line_is_for_machines() {
        let lines = closing(&report(), Mode::Crawl, Written { rows: 3, bytes: 99 }, Vec::new());
        assert_eq!(lines[0], "ended: --max-infohashes reached");
        assert!(lines.contains(&"failed dials: 5 refused".to_owned()), "{lines:?}");
        let last = lines.last().map(String::as_str);
        assert_eq!(last, Some("rows=3 bytes=99 nodes=7 queries=8 answered=50.0% elapsed=12.3s"));
    }

    #[test]
    fn the_funnel_has_the_stages_of_its_mode_and_no_others() {
        let stages = |mode| {
            let lines = funnel(&report().stats, mode);
            let names = lines.iter().filter_map(|line| line.split(':').next());
            names.map(str::to_owned).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            stages(Mode::Crawl),
            "contacts, nodes that sample, infohashes, peers, settled, failed dials"
        );
        assert_eq!(stages(Mode::Peers), "contacts, nodes that sample, infohashes, settled");
        assert_eq!(stages(Mode::Fetch), "contacts, infohashes, peers, settled, failed dials");
        assert_eq!(stages(Mode::Direct), "infohashes, peers, settled, failed dials");
        let peers = Stats { settled: 5, failed: 2, unfinished: 1, ..Stats::default() };
        let last = funnel(&peers, Mode::Peers).pop();
        assert_eq!(last.as_deref(), Some("settled: 3 with peers, 2 without; 1 unfinished"));
    }

    #[test]
    fn json_has_every_counter_and_every_fault() {
        let value = json(&report(), Written { rows: 3, bytes: 99 });
        for (name, count) in report().stats.counters() {
            assert_eq!(value["counters"][name], count, "{name}");
        }
        assert_eq!(value["faults"].as_object().map(Map::len), Some(PeerFault::COUNT));
        assert_eq!(value["faults"]["refused"], 5);
        assert_eq!((value["ended"].as_str(), value["rows"].as_u64()), (Some("limit"), Some(3)));
    }
}
