//! What is judged by doing it again: rule 5 by a second run with other forgeries, rule 22 by
//! reading a connection's bytes once more in other portions.

use estudely_core::{Exchange, Instant, Outcome, Row, Step, Verdict};

use super::rule::{ANY_SPLIT, Broken, MATCHED_REPLIES, hex};
use crate::world::draw::draw;
use crate::world::scenario::Scenario;

/// Where an exchange stood after the bytes that are read again.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// It went on.
    Open,
    /// The bytes had ended it.
    ByBytes(&'a Outcome),
    /// Something else ended it: time, the other side, or the adapter.
    Otherwise(&'a Outcome),
}

/// What an exchange had read at an instant; as much as before if only time had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The instant.
    pub at: Instant,
    /// How many bytes.
    pub end: usize,
}

/// How the bytes are given to a copy.
#[derive(Clone, Copy, Debug)]
enum Portions {
    AtOnce,
    Single,
    Random,
}

/// Rule 22: gives `input` to three copies of `before`, all at once, byte by byte and in portions
/// drawn from `seed`, and compares what they write and how they end with what the original wrote
/// and ended with, whatever portions it had. `before` is a copy made at the first of `times`, just
/// before the first of these bytes. No portion spans two instants, and time passes for the copies
/// as it did for the original; how long something took is not compared.
pub fn splits(
    before: &Exchange,
    times: &[Heard],
    input: &[u8],
    (written, end): (&[u8], End<'_>),
    seed: u64,
) -> Result<(), Broken> {
    let mut dice = draw(seed, "splits", input.len() as u64);
    for portions in [Portions::AtOnce, Portions::Single, Portions::Random] {
        let (mut copy, mut begin) = (before.clone(), 0);
        let (mut out, mut step) = (Vec::new(), Step::Continue);
        for Heard { at, end } in times.iter().copied() {
            let mut rest = input.get(begin..end).unwrap_or_default();
            begin = end;
            if step == Step::Continue && rest.is_empty() {
                step = copy.handle_timeout(at, &mut out);
            }
            while !rest.is_empty() && step == Step::Continue {
                let len = match portions {
                    Portions::AtOnce => rest.len(),
                    Portions::Single => 1,
                    Portions::Random => dice.usize(1..=rest.len()),
                };
                let (portion, after) = rest.split_at(len);
                step = copy.handle_bytes(at, portion, &mut out);
                rest = after;
            }
        }
        let now = times.last().map_or(Instant::START, |heard| heard.at);
        let same = match (&step, end) {
            (Step::Continue, End::Open) => true,
            (Step::Finished(outcome), End::ByBytes(other)) => is_alike(outcome, other),
            (Step::Continue, End::Otherwise(other)) => {
                let fault = other.result.as_ref().err();
                fault.is_some_and(|fault| is_alike(&copy.handle_failed(now, *fault), other))
            }
            _ => false,
        };
        if out != written || !same {
            let what = format!(
                "{} bytes read {} give {} bytes and {}; as they came {} and {}",
                input.len(),
                match portions {
                    Portions::AtOnce => "at once",
                    Portions::Single => "byte by byte",
                    Portions::Random => "in random portions",
                },
                out.len(),
                match &step {
                    Step::Continue => "no end".to_owned(),
                    Step::Finished(outcome) => format!("{:?}", outcome.result),
                },
                written.len(),
                match end {
                    End::Open => "no end".to_owned(),
                    End::ByBytes(outcome) => format!("{:?}", outcome.result),
                    End::Otherwise(outcome) => format!("no end before {:?}", outcome.result),
                },
            );
            return Err(Broken { rule: ANY_SPLIT, at: now, what });
        }
    }
    Ok(())
}

/// Whether two outcomes say the same, apart from times.
fn is_alike(one: &Outcome, other: &Outcome) -> bool {
    one.result == other.result
        && one.partial == other.partial
        && one.found_peers == other.found_peers
        && one.progress == other.progress
        && one.pieces_offered == other.pieces_offered
}

/// What a row says, apart from its times: two runs of which one has forgeries need not agree on
/// when something was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// The infohash.
    pub hash: [u8; 20],
    /// The exact metadata; none if the row is False.
    pub raw: Option<Box<[u8]>>,
}

impl Said {
    /// Of a row.
    pub fn of(row: &Row) -> Self {
        let raw = match &row.verdict {
            Verdict::Verified { metadata, .. } | Verdict::Broken { metadata, .. } => {
                Some(metadata.raw().into())
            }
            Verdict::Failed { .. } | Verdict::PeersOnly => None,
        };
        Self { hash: row.infohash.0, raw }
    }
}

/// Rule 5, metamorphic: runs `scenario` as it is and without forged datagrams, and compares what
/// the rows say. `run` runs a scenario and gives its rows in order. Where forgeries are all that
/// differs, every other draw being its own stream, the rows must be the same.
pub fn rows_equal_without_forgeries(
    scenario: &Scenario,
    mut run: impl FnMut(&Scenario) -> Vec<Said>,
) -> Result<(), Broken> {
    let mut with = run(scenario);
    let mut without = run(&Scenario { forged: 0, ..scenario.clone() });
    with.sort_unstable();
    without.sort_unstable();
    let odd = with.iter().find(|said| without.binary_search(said).is_err());
    let odd = odd.or_else(|| without.iter().find(|said| with.binary_search(said).is_err()));
    match odd {
        None if with.len() == without.len() => Ok(()),
        odd => {
            let hash = odd.map_or_else(|| "a repeated row".to_owned(), |odd| hex(&odd.hash));
            let what = format!(
                "{} rows with forged datagrams, {} without: {hash} differs",
                with.len(),
                without.len()
            );
            Err(Broken { rule: MATCHED_REPLIES, at: Instant::START, what })
        }
    }
}

#[cfg(test)]
mod tests {
    use estudely_core::Transport;

    use estudely_core::InfoHash;
    use estudely_core::Seed;
    use estudely_core::internal::exchange::{Attempt, Pipeline};
    use estudely_core::internal::planted::{Bug, plant};
    use estudely_core::wire::{Extensions, Handshake, OUR_EXTENSIONS};

    use super::*;

    /// An exchange that has sent its handshake, and a peer's handshake that it takes.
    fn conversation() -> (Exchange, Vec<u8>) {
        let hash = InfoHash([7; 20]);
        let attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::All };
        let seed = Seed::from_u64(1);
        let mut exchange = Exchange::new(Instant::START, hash, attempt, None, seed);
        exchange.handle_connected(Instant::START, &mut Vec::new());
        let mut input = Vec::new();
        Handshake::new(hash, [9; 20]).emit(&mut input);
        Extensions { metadata_size: Some(1), ..OUR_EXTENSIONS }.emit(&mut input);
        (exchange, input)
    }

    fn at_once(input: &[u8]) -> [Heard; 1] {
        [Heard { at: Instant::START, end: input.len() }]
    }

    #[test]
    fn a_reader_that_heeds_portions_is_told_by_its_end() {
        for (bug, breaks) in [(None, false), (Some(Bug::SplitFrames), true)] {
            let _planted = bug.map(plant);
            let (mut whole, input) = conversation();
            let (before, mut out) = (whole.clone(), Vec::new());
            let step = whole.handle_bytes(Instant::START, &input, &mut out);
            let Step::Finished(outcome) = step else { panic!("its size is absurd: {step:?}") };
            let result =
                splits(&before, &at_once(&input), &input, (&out, End::ByBytes(&outcome)), 7);
            assert_eq!(result.err().map(|broken| broken.rule), breaks.then_some(ANY_SPLIT));
        }
    }

    #[test]
    fn what_ended_for_another_reason_must_be_as_far_and_what_went_on_go_on() {
        let (mut whole, input) = conversation();
        let input = &input[..70];
        let (before, mut out) = (whole.clone(), Vec::new());
        assert_eq!(whole.handle_bytes(Instant::START, input, &mut out), Step::Continue);
        let outcome = whole.clone().handle_closed(Instant::START);
        let judge = |input: &[u8], end| splits(&before, &at_once(input), input, (&out, end), 7);
        assert_eq!(judge(input, End::Otherwise(&outcome)), Ok(()));
        assert_eq!(judge(input, End::Open), Ok(()));
        assert!(judge(input, End::ByBytes(&outcome)).is_err());
        assert!(judge(&input[..60], End::Open).is_err(), "our extensions answer 68 bytes");
        let shorter = before.clone().handle_closed(Instant::START);
        assert!(judge(input, End::Otherwise(&shorter)).is_err(), "it was further");
    }

    #[test]
    fn forgeries_that_change_a_row_are_found() {
        let scenario = Scenario { forged: 9, ..Scenario::calm(1) };
        let row = |n| Said { hash: [n; 20], raw: None };
        let same = rows_equal_without_forgeries(&scenario, |_| vec![row(1), row(2)]);
        assert_eq!(same, Ok(()));
        for extra in [row(2), row(3)] {
            let result = rows_equal_without_forgeries(&scenario, |scenario| {
                let mut rows = vec![row(1), row(2)];
                rows.extend((scenario.forged > 0).then(|| extra.clone()));
                rows
            });
            assert_eq!(result.expect_err("differs").rule, MATCHED_REPLIES);
        }
    }
}
