//! The same conversations carried by three different things give the same outcomes: a perfect line
//! in virtual time, the smol adapter on loopback, and turmoil's TCP in a simulation.
//!
//! The peers are the simulator's, honest and hostile; the fetcher is the core's exchange. What the
//! perfect line gives is the measure. Conversations that only a deadline ends are compared in
//! virtual time alone: on real sockets they would take as long as they say.

mod loopback;
mod scripts;
mod simulated;

use std::sync::Arc;
use std::time::Duration;

use estudely_core::PeerFault;
use estudely_sim::peer::HANDSHAKE_LEN;
use estudely_sim::vice::PeerVice;

use scripts::{Ending, Measure, Script, Stage};

/// Conversations longer than this, by virtual time, are not held on real sockets.
const REAL_MAX: Duration = Duration::from_secs(1);
/// How far turmoil's time may be from that of a perfect line: its ticks of a millisecond, one or
/// two for each turn of the conversation.
const TICKS: Duration = Duration::from_millis(30);

/// Everything but the times and the bytes that the fetcher wrote.
fn assert_same(stage: &Stage, script: &Script, measure: &Ending, other: &Ending) {
    assert_eq!(other.result, measure.result, "{script:?}");
    assert_eq!(other.progress, measure.progress, "{script:?}");
    assert!(other.metadata == measure.metadata, "{script:?}: metadata differs");
    if measure.result.is_ok() {
        assert!(measure.metadata == stage.info(script), "{script:?}: not the true metadata");
    }
}

/// What is appended together with the end is not written. So where the end is of the fetcher's own
/// making, how much went out before depends on how the kernel cut the stream: any front of the
/// whole will do. In every other case it is exact.
fn assert_same_bytes(script: &Script, measure: &Measure, heard: &[u8]) {
    use PeerFault::*;
    match measure.ending.result {
        Ok(()) | Err(ClosedEarly | ClosedLate) => {
            assert_eq!(heard, measure.ending.heard, "{script:?}");
        }
        Err(_) => {
            assert!(measure.appended.starts_with(heard), "{script:?}: {heard:?}");
            assert!(heard.len() >= HANDSHAKE_LEN, "{script:?}: {heard:?}");
        }
    }
}

#[test]
fn every_manner_and_vice_ends_alike_on_loopback_through_smol() {
    let stage = Arc::new(Stage::new());
    let (scripts, measures): (Vec<_>, Vec<_>) = Script::all(&stage)
        .into_iter()
        .map(|script| (script, stage.perfectly(&script)))
        .filter(|(_, measure)| measure.ending.took <= REAL_MAX)
        .unzip();
    assert!(scripts.len() > 200, "only {}", scripts.len());
    let endings = loopback::run(&stage, &scripts);
    for ((script, measure), ending) in scripts.iter().zip(&measures).zip(&endings) {
        assert_same(&stage, script, &measure.ending, ending);
        assert_same_bytes(script, measure, &ending.heard);
        assert!(ending.took >= measure.ending.took, "{script:?}: sooner than it can be");
    }
}

#[test]
fn every_manner_and_vice_ends_alike_through_turmoil() {
    let stage = Arc::new(Stage::new());
    let scripts = Script::all(&stage);
    let endings = simulated::run(&stage, &scripts);
    assert_eq!(endings.len(), scripts.len());
    for (script, ending) in scripts.iter().zip(&endings) {
        let measure = stage.perfectly(script).ending;
        assert_same(&stage, script, &measure, ending);
        // Turmoil cuts no stream: even what an end leaves unwritten is the same.
        assert_eq!(ending.heard, measure.heard, "{script:?}");
        let late = ending.took.saturating_sub(measure.took);
        assert!(ending.took >= measure.took && late <= TICKS, "{script:?}: {late:?} late");
    }
}

#[test]
fn the_scripts_hold_every_vice_and_most_ways_to_fail() {
    let stage = Stage::new();
    let scripts = Script::all(&stage);
    for vice in PeerVice::ALL {
        assert!(scripts.iter().any(|script| script.vice == Some(*vice)), "{vice:?}");
    }
    let results: Vec<_> =
        scripts.iter().map(|script| stage.perfectly(script).ending.result).collect();
    assert!(results.contains(&Ok(())));
    // What happens before a connection is there, and what only an adapter knows of.
    let elsewhere = [
        PeerFault::Refused,
        PeerFault::Unreachable,
        PeerFault::ConnectTimeout,
        PeerFault::Pressure,
        PeerFault::Aborted,
        PeerFault::Yielded,
        // Only of encrypted exchanges, which no script has.
        PeerFault::ClosedExchangingKeys,
        PeerFault::BadKey,
        PeerFault::NoVc,
        PeerFault::BadSelect,
        PeerFault::BadPad,
        // The hostile suite has a peer that is waited for in vain.
        PeerFault::NoMetadata,
    ];
    for fault in PeerFault::ALL.iter().filter(|fault| !elsewhere.contains(fault)) {
        assert!(results.contains(&Err(*fault)), "{fault}");
    }
}

#[test]
fn the_simulation_gives_the_same_endings_twice() {
    let stage = Arc::new(Stage::new());
    let scripts: Vec<_> = Script::all(&stage).into_iter().step_by(7).collect();
    assert_eq!(simulated::run(&stage, &scripts), simulated::run(&stage, &scripts));
}
