//! What one run cannot show: rule 5 by running again without forgeries, rule 22 by reading the
//! same bytes in other portions.

use estudely_core::exchange::{Exchange, Step};
use estudely_core::row::{Row, Verdict};
use estudely_core::time::Instant;

use super::hex;
use super::rule::{ANY_SPLIT, Broken, MATCHED_REPLIES};
use crate::draw::draw;
use crate::scenario::Scenario;

/// Something that reads a stream: the exchange under test, and what stands in for it in tests.
pub trait Reader {
    /// Bytes arrived.
    fn read(&mut self, now: Instant, input: &[u8], out: &mut Vec<u8>) -> Step;
}

impl Reader for Exchange {
    fn read(&mut self, now: Instant, input: &[u8], out: &mut Vec<u8>) -> Step {
        self.handle_bytes(now, input, out)
    }
}

/// Rule 22: gives `input` to two copies of `before`, byte by byte and in portions drawn from
/// `seed`, and compares what they write and how they end with what `whole` wrote and ended with.
/// `before` is a copy made just before the input was read.
pub fn splits<R: Reader + Clone>(
    before: &R,
    now: Instant,
    input: &[u8],
    (written, whole): (&[u8], &Step),
    seed: u64,
) -> Result<(), Broken> {
    let mut dice = draw(seed, "splits", input.len() as u64);
    for byte_by_byte in [true, false] {
        let (mut copy, mut rest) = (before.clone(), input);
        let (mut out, mut step) = (Vec::new(), Step::Continue);
        while !rest.is_empty() && step == Step::Continue {
            let most = if byte_by_byte { 1 } else { dice.usize(1..=rest.len()) };
            let (portion, after) = rest.split_at(most);
            step = copy.read(now, portion, &mut out);
            rest = after;
        }
        if out != written || step != *whole {
            let how = if byte_by_byte { "byte by byte" } else { "in random portions" };
            let what = format!(
                "{} bytes read {how} give {} bytes and {}; at once {} and {}",
                input.len(),
                out.len(),
                end(&step),
                written.len(),
                end(whole)
            );
            return Err(Broken { rule: ANY_SPLIT, at: now, what });
        }
    }
    Ok(())
}

fn end(step: &Step) -> String {
    match step {
        Step::Continue => "no end".to_owned(),
        Step::Finished(outcome) => format!("{:?}", outcome.result),
    }
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
    use super::*;

    /// Writes what it reads, in reverse if it may look at whole portions.
    #[derive(Clone)]
    struct Echo {
        by_portion: bool,
    }

    impl Reader for Echo {
        fn read(&mut self, _now: Instant, input: &[u8], out: &mut Vec<u8>) -> Step {
            match self.by_portion {
                true => out.extend(input.iter().rev()),
                false => out.extend(input),
            }
            Step::Continue
        }
    }

    #[test]
    fn a_reader_that_heeds_portions_is_told_by_its_output() {
        for by_portion in [false, true] {
            let mut whole = Echo { by_portion };
            let (before, mut out) = (whole.clone(), Vec::new());
            let step = whole.read(Instant::START, b"some bytes", &mut out);
            let result = splits(&before, Instant::START, b"some bytes", (&out, &step), 7);
            assert_eq!(result.err().map(|broken| broken.rule), by_portion.then_some(ANY_SPLIT));
        }
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
