//! Runs as the command line of `sim` would have them, so that every failure comes with the command
//! that shows it again.

use std::num::NonZero;
use std::thread::available_parallelism;

use estudely_sim::command::Options;
use estudely_sim::command::campaign::Campaign;
use estudely_sim::scenario::Scenario;
use estudely_sim::verdict::{self, Failure, RunVerdict, Wanted};

/// What `sim` with these arguments would do.
pub(crate) fn options(arguments: &[&str]) -> Options {
    let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    Options::parse(&arguments).unwrap_or_else(|refusal| panic!("{arguments:?}: {refusal:?}"))
}

/// Runs `scenario` with the bug that `options` plants, if any.
pub(crate) fn run(options: &Options, scenario: &Scenario) -> RunVerdict {
    let bug = options.injection().map(|injection| injection.bug);
    let wanted = Wanted { bug, ..Wanted::default() };
    verdict::run(scenario, &wanted).unwrap_or_else(|error| panic!("{scenario}: {error}")).verdict
}

/// Runs `scenario`, in which no rule may break.
pub(crate) fn hold(options: &Options, scenario: &Scenario) -> RunVerdict {
    let verdict = run(options, scenario);
    if let Some(failure) = &verdict.failure {
        panic!("{}\n{}", verdict.tail.join("\n"), line(options, scenario, failure));
    }
    verdict
}

/// A failure as `sim` prints it.
pub(crate) fn line(options: &Options, scenario: &Scenario, failure: &Failure) -> String {
    format!("seed {} {failure}; replay: {}", scenario.seed, options.replay(scenario))
}

/// The results of `job` for numbers from 0 on, computed on all cores.
pub(crate) fn on_all_cores<T: Send>(count: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let jobs = available_parallelism().map_or(1, NonZero::get);
    let campaign = Campaign { from: 0, count: count as u64, jobs, budget: None };
    let mut results = Vec::with_capacity(count);
    campaign.run(
        |number| job(number as usize),
        |_, result| {
            results.push(result);
            true
        },
    );
    results
}
