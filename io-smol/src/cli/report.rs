//! The end of a run in words and in JSON: the funnel from contacts to verified metadata, and,
//! when it is empty, where it ran dry.
//!
//! Pure: from a report to lines. Nothing here prints.

mod diagnosis;

use estudely_core::limits::ORDERS_PER_INFOHASH_MAX;
use estudely_core::state::Restored;
use estudely_core::{Mode, PeerFault, Stats};
use serde_json::{Map, Value, json};

use super::progress::share;
use crate::engine::run::{Ended, Report};
use crate::files::state::Kept;
use crate::text::counted;

pub use diagnosis::diagnose;

/// What the outputs got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputTotals {
    /// Rows of this run.
    pub rows: u64,
    /// Bytes in all outputs, those of earlier runs included.
    pub bytes: u64,
}

/// The word for a run that failed, as in `--stats`.
pub const FAILED: &str = "error";

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
        Ended::Failed(_) => FAILED,
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
        Ended::Failed(_) => "ended: by a failure",
    }
}

/// The funnel, line by line: the stages that a run in this mode has.
pub fn funnel(stats: &Stats, mode: Mode) -> Vec<String> {
    let mut lines = Vec::new();
    if mode.uses_dht() {
        lines.push(format!(
            "contacts: {} heard, {} asked, {} answered{}",
            stats.contacts_heard,
            stats.contacts_asked,
            stats.contacts_answered,
            errors(stats).map_or(String::new(), |errors| format!("; errors: {errors}")),
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
    lines.extend(transports(stats));
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

/// How far connections came, by what carried them.
fn transports(stats: &Stats) -> [String; 4] {
    let line = |name, [dialled, connected, handshaken, complete]: [u64; 4]| {
        format!(
            "{name}: {dialled} dialled, {connected} connected, {handshaken} handshaken, \
             {complete} complete"
        )
    };
    let Stats { tcp_dialled, tcp_connected, tcp_handshaken, tcp_complete, .. } = *stats;
    let Stats { mse_dialled, mse_connected, mse_handshaken, mse_complete, .. } = *stats;
    let Stats { utp_dialled, utp_connected, utp_handshaken, utp_complete, .. } = *stats;
    let Stats { utp_mse_dialled, utp_mse_connected, .. } = *stats;
    let Stats { utp_mse_handshaken, utp_mse_complete, .. } = *stats;
    [
        line("plain tcp", [tcp_dialled, tcp_connected, tcp_handshaken, tcp_complete]),
        line("encrypted tcp", [mse_dialled, mse_connected, mse_handshaken, mse_complete]),
        line("plain utp", [utp_dialled, utp_connected, utp_handshaken, utp_complete]),
        line(
            "encrypted utp",
            [utp_mse_dialled, utp_mse_connected, utp_mse_handshaken, utp_mse_complete],
        ),
    ]
}

/// The errors that nodes answered with, by code; `None` if there were none.
fn errors(stats: &Stats) -> Option<String> {
    let codes = [
        ("201", stats.errors_201),
        ("202", stats.errors_202),
        ("203", stats.errors_203),
        ("204", stats.errors_204),
        ("other", stats.errors_other),
    ];
    let found = codes.iter().filter(|(_, count)| *count > 0);
    let found: Vec<_> = found.map(|(code, count)| format!("{code} x {count}")).collect();
    (!found.is_empty()).then(|| found.join(", "))
}

/// Which of the peers asked for were left out, a line for each reason.
pub fn left_out(stats: &Stats) -> Vec<String> {
    let mut lines = Vec::new();
    match stats.hearsay_private {
        0 => {}
        1 => lines.push("1 peer on a private address left out: --allow-private".to_owned()),
        n => lines.push(format!("{n} peers on private addresses left out: --allow-private")),
    }
    if stats.hearsay_left_out > 0 {
        let n = stats.hearsay_left_out;
        let peers = counted(n, "peer");
        lines.push(format!("{peers} of magnet links left out: unusable, or more than are kept"));
    }
    if stats.orders_left_out > 0 {
        let n = stats.orders_left_out;
        lines.push(format!(
            "{} left out: more than {ORDERS_PER_INFOHASH_MAX} for one infohash",
            counted(n, "peer")
        ));
    }
    lines
}

/// Everything that is said when a run ends: how, the funnel, why it is empty if it is, and last
/// the line for machines.
pub fn closing(
    report: &Report,
    mode: Mode,
    written: OutputTotals,
    why_empty: Vec<String>,
) -> Vec<String> {
    let stats = &report.stats;
    let mut lines = vec![ended_words(report.ended).to_owned()];
    lines.extend(funnel(stats, mode));
    lines.extend(left_out(stats));
    lines.extend(diagnosis::dead_transports(stats));
    lines.extend(why_empty);
    lines.extend(report.state.as_ref().map(state_line));
    lines.push(format!(
        "rows={} bytes={} nodes={} queries={} answered={} elapsed={:.1}s",
        written.rows,
        written.bytes,
        stats.contacts_answered,
        stats.queries(),
        share(stats.answered + stats.errors(), stats.queries()).replace(' ', ""),
        report.elapsed.as_secs_f64(),
    ));
    lines
}

/// What was taken up from the state, and what is kept for the next run.
fn state_line(kept: &Kept) -> String {
    let taken = match &kept.restored {
        None => "begun anew".to_owned(),
        Some(Restored { contacts, resting, due, pending, held, failed, .. }) => format!(
            "{}, {resting} resting, {} pending, {failed} failed taken up",
            counted((contacts + due) as u64, "contact"),
            pending + held
        ),
    };
    let file = &kept.file;
    if kept.unusable {
        format!("state: nothing kept; {file} is no whole state, and was left as it was")
    } else if kept.complete && kept.bytes == 0 {
        "state: nothing kept".to_owned()
    } else if kept.complete {
        format!("state: {taken}; {} kept in {file}", counted(kept.bytes, "byte"))
    } else {
        format!("state: {taken}; {file} could not be saved and lacks the latest")
    }
}

/// Every counter, as `--stats` writes it.
pub fn json(report: &Report, written: OutputTotals) -> Value {
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
        "state": report.state.as_ref().map(state_json),
    })
}

fn state_json(kept: &Kept) -> Value {
    let restored = kept.restored.as_ref().map(|restored| {
        json!({
            "contacts": restored.contacts,
            "resting": restored.resting,
            "due": restored.due,
            "pending": restored.pending,
            "held": restored.held,
            "failed": restored.failed,
            "settled": restored.settled,
            "left_out": restored.left_out,
            "records": restored.records,
            "damaged": restored.damaged,
            "unknown": restored.unknown,
            "torn_bytes": restored.torn_bytes,
        })
    });
    json!({
        "file": kept.file,
        "restored": restored,
        "saves": kept.saves,
        "appended_bytes": kept.appended_bytes,
        "bytes": kept.bytes,
        "failures": kept.failures,
        "complete": kept.complete,
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
    use crate::engine::run::{BootstrapReport, UdpReport};

    fn report() -> Report {
        let mut stats = Stats::default();
        (stats.contacts_answered, stats.queries_sample, stats.answered) = (7, 8, 4);
        (stats.verified, stats.dialled) = (3, 9);
        stats.faults[PeerFault::Refused as usize] = 5;
        Report {
            stats,
            elapsed: Duration::from_millis(12_340),
            ended: Ended::Limit,
            bootstrap: BootstrapReport::default(),
            udp: UdpReport::default(),
            state: None,
        }
    }

    #[test]
    fn the_last_line_is_for_machines() {
        let lines =
            closing(&report(), Mode::Crawl, OutputTotals { rows: 3, bytes: 99 }, Vec::new());
        assert_eq!(lines[0], "ended: --max-infohashes reached");
        assert!(lines.contains(&"failed dials: 5 refused".to_owned()), "{lines:?}");
        let last = lines.last().map(String::as_str);
        assert_eq!(last, Some("rows=3 bytes=99 nodes=7 queries=8 answered=50.0% elapsed=12.3s"));
    }

    #[test]
    fn errors_are_answers_and_what_was_left_out_is_said_with_its_number() {
        let mut report = report();
        (report.stats.errors_201, report.stats.errors_other) = (2, 1);
        (report.stats.hearsay_private, report.stats.orders_left_out) = (12, 3);
        let lines = closing(&report, Mode::Fetch, OutputTotals::default(), Vec::new());
        for said in [
            "contacts: 0 heard, 0 asked, 7 answered; errors: 201 x 2, other x 1",
            "12 peers on private addresses left out: --allow-private",
            "3 peers left out: more than 1000 for one infohash",
        ] {
            assert!(lines.iter().any(|line| line == said), "{said}: {lines:?}");
        }
        assert!(lines.last().is_some_and(|line| line.contains(" answered=87.5% ")), "{lines:?}");
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
            "contacts, nodes that sample, infohashes, peers, plain tcp, encrypted tcp, \
             plain utp, encrypted utp, settled, failed dials"
        );
        assert_eq!(stages(Mode::Peers), "contacts, nodes that sample, infohashes, settled");
        let rest = "infohashes, peers, plain tcp, encrypted tcp, plain utp, encrypted utp, \
                    settled, failed dials";
        assert_eq!(stages(Mode::Fetch), format!("contacts, {rest}"));
        assert_eq!(stages(Mode::Direct), rest);
        let mut stats = Stats::default();
        (stats.mse_dialled, stats.mse_connected, stats.mse_handshaken) = (4, 3, 2);
        let line = "encrypted tcp: 4 dialled, 3 connected, 2 handshaken, 0 complete".to_owned();
        assert!(funnel(&stats, Mode::Fetch).contains(&line));
        let mut peers = Stats::default();
        (peers.settled, peers.failed, peers.unfinished) = (5, 2, 1);
        let last = funnel(&peers, Mode::Peers).pop();
        assert_eq!(last.as_deref(), Some("settled: 3 with peers, 2 without; 1 unfinished"));
    }

    #[test]
    fn what_became_of_the_state_is_said_before_the_last_line_and_in_json() {
        let line = |state: Option<Kept>| {
            let report = Report { state, ..report() };
            let mut lines = closing(&report, Mode::Crawl, OutputTotals::default(), Vec::new());
            lines.pop();
            lines.pop().filter(|line| line.starts_with("state: "))
        };
        let kept = Kept { file: "s".into(), bytes: 9, complete: true, ..Kept::default() };
        assert_eq!(line(None), None);
        let said = line(Some(kept.clone()));
        assert_eq!(said.as_deref(), Some("state: begun anew; 9 bytes kept in s"));
        let said = line(Some(Kept { bytes: 0, ..kept.clone() }));
        assert_eq!(said.as_deref(), Some("state: nothing kept"));
        let said = line(Some(Kept { unusable: true, ..kept.clone() })).unwrap_or_default();
        assert_eq!(said, "state: nothing kept; s is no whole state, and was left as it was");
        let mut restored = Restored::default();
        (restored.contacts, restored.due, restored.pending) = (3, 1, 2);
        let kept = Kept { restored: Some(restored), complete: false, ..kept };
        let said = line(Some(kept.clone())).unwrap_or_default();
        assert!(said.starts_with("state: 4 contacts, 0 resting, 2 pending, 0 failed"), "{said}");
        assert!(said.ends_with("could not be saved and lacks the latest"), "{said}");
        let value = json(&Report { state: Some(kept), ..report() }, OutputTotals::default());
        assert_eq!(value["state"]["restored"]["pending"], 2);
        assert_eq!(value["state"]["complete"], false);
        assert!(json(&report(), OutputTotals::default())["state"].is_null());
    }

    #[test]
    fn json_has_every_counter_and_every_fault() {
        let value = json(&report(), OutputTotals { rows: 3, bytes: 99 });
        for (name, count) in report().stats.counters() {
            assert_eq!(value["counters"][name], count, "{name}");
        }
        assert_eq!(value["faults"].as_object().map(Map::len), Some(PeerFault::COUNT));
        assert_eq!(value["faults"]["refused"], 5);
        assert_eq!((value["ended"].as_str(), value["rows"].as_u64()), (Some("limit"), Some(3)));
    }
}
