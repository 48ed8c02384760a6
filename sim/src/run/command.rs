//! The command line of `sim`.

pub mod campaign;

use std::path::PathBuf;
use std::time::Duration;

use argh::FromArgs;

use crate::run::inject::Injection;
use crate::world::scenario::{Scenario, near};

/// Seeds that a sweep takes when only a budget is given.
const SEEDS_UNBOUNDED: u64 = u64::MAX;
/// Seeds that `--inject` tries without being told how many.
const SEEDS_INJECTED: u64 = 50;

/// What a command line wants done, and with which seeds and scenarios.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do.
    pub task: Task,
    /// The one seed to run.
    pub seed: Option<u64>,
    /// How many seeds to run.
    pub seeds: Option<u64>,
    /// The first of them.
    pub seed_from: u64,
    /// No further seed is begun after so long.
    pub budget: Option<Duration>,
    /// Seeds at once.
    pub jobs: Option<usize>,
    /// Most runs to look for the smallest scenario that breaks the same rule; `None`: do not look.
    pub shrink: Option<u32>,
    /// The bug to plant.
    pub inject: Option<String>,
    /// Where the curve goes.
    pub curve: Option<PathBuf>,
    /// Where the events go as text.
    pub trace: Option<PathBuf>,
    /// Fields with another value.
    pub set: Vec<String>,
    /// What those are fields of.
    pub base: Base,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Run one seed or many.
    Run,
    /// Run one seed twice, and compare.
    Check,
    /// Say what the scenario of a seed is made of.
    Explain,
    /// Name the bugs that can be planted.
    ListInjections,
    /// Print the version.
    Version,
}

/// The scenario that a run begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// That drawn from the seed.
    Drawn,
    /// A small one without any fault.
    Calm,
}

impl From<Arguments> for Options {
    fn from(given: Arguments) -> Self {
        // Of several tasks the one that runs least.
        let tasks = [
            (given.version, Task::Version),
            (given.list_injections, Task::ListInjections),
            (given.explain, Task::Explain),
            (given.check, Task::Check),
        ];
        let task = tasks.into_iter().find(|(times, _)| *times > 0);
        Self {
            task: task.map_or(Task::Run, |(_, task)| task),
            seed: given.seed,
            seeds: given.seeds,
            seed_from: given.seed_from,
            budget: given.budget,
            jobs: given.jobs,
            shrink: (given.shrink > 0).then_some(given.shrink_runs),
            inject: given.inject,
            curve: given.curve,
            trace: given.trace,
            set: given.set,
            base: if given.calm > 0 { Base::Calm } else { Base::Drawn },
        }
    }
}

// How often each switch was given, and what each option was given last. argh wants plain types.
/// run the crawler in a made-up internet where everything goes wrong, and check that no rule is
/// broken. One seed is one scenario: the same seed gives the same run, byte for byte. Every field
/// of a scenario is an option too: --nodes 500, --loss 100 (see --explain)
#[derive(FromArgs, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} --seed 7",
    example = "{command_name} --seeds 1000 --budget 60s",
    example = "{command_name} --inject skip-hash",
    note = "Status: 0 every rule held, 1 one was broken, 2 the command line makes no sense or names no file that can be written.",
    note = "stdout ends with the hash of everything that crossed the crawler's boundary."
)]
struct Arguments {
    /// run this seed; the last line of stdout is the hash of its trace
    #[argh(option, arg_name = "n")]
    seed: Option<u64>,
    /// run so many seeds
    #[argh(option, arg_name = "n")]
    seeds: Option<u64>,
    /// the first of them (1)
    #[argh(option, default = "1", arg_name = "n")]
    seed_from: u64,
    /// begin no further seed after so long: 60s, 5m, 2h
    #[argh(option, arg_name = "time", from_str_fn(parse_budget))]
    budget: Option<Duration>,
    /// seeds at once (as many as there are cores)
    #[argh(option, arg_name = "n")]
    jobs: Option<usize>,
    /// run the seed twice and name the first event that differs
    #[argh(switch)]
    check: u8,
    /// after a failure, look for the smallest scenario that breaks the same rule
    #[argh(switch)]
    shrink: u8,
    /// most runs that --shrink may take (300)
    #[argh(option, default = "300", arg_name = "n")]
    shrink_runs: u32,
    /// plant a bug in the crawler, to see it caught; without --seed in a small world made for it
    #[argh(option, arg_name = "name")]
    inject: Option<String>,
    /// name the bugs that can be planted
    #[argh(switch)]
    list_injections: u8,
    /// write what was found for each query sent, as CSV
    #[argh(option, arg_name = "file")]
    curve: Option<PathBuf>,
    /// write every event as a line of text
    #[argh(option, arg_name = "file")]
    trace: Option<PathBuf>,
    /// give a field of the scenario another value: --set nodes=500 is --nodes 500
    #[argh(option, arg_name = "name=value")]
    set: Vec<String>,
    /// begin with a small world without any fault in place of the one drawn
    #[argh(switch)]
    calm: u8,
    /// say what the scenario of --seed is made of, field by field, and run nothing
    #[argh(switch)]
    explain: u8,
    /// print the version
    #[argh(switch)]
    version: u8,
}

/// What a command line asks for that is no run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Help was asked for.
    Help(String),
    /// It makes no sense.
    Complaint(String),
}

impl Options {
    /// Reads arguments without the program's name.
    ///
    /// # Errors
    /// Help that was asked for, or what is wrong.
    pub fn parse(arguments: &[String]) -> Result<Self, Refusal> {
        let words = rewrite(arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let arguments =
            Arguments::from_args(&["sim"], &words).map_err(|exit| match exit.status {
                Ok(()) => Refusal::Help(exit.output),
                Err(()) => Refusal::Complaint(with_suggestion(exit.output.trim_end(), &words)),
            })?;
        let options = Self::from(arguments);
        options.complaint().map_or(Ok(options), |complaint| Err(Refusal::Complaint(complaint)))
    }

    fn complaint(&self) -> Option<String> {
        if matches!(self.task, Task::ListInjections | Task::Version) {
            return None;
        }
        if let Err(complaint) = self.overridden(Scenario::calm(0)) {
            return Some(complaint);
        }
        if let Some(name) = self.inject.as_deref()
            && Injection::named(name).is_none()
        {
            let names = crate::run::inject::INJECTIONS.iter().map(|injection| injection.bug.name());
            let near = near(name, names);
            return Some(format!("no bug is called {name}{near} (--list-injections names all)"));
        }
        let sweeps = self.seeds.is_some() || self.budget.is_some();
        let one_seed = [
            (self.task == Task::Check, "--check"),
            (self.curve.is_some(), "--curve"),
            (self.trace.is_some(), "--trace"),
            (self.task == Task::Explain, "--explain"),
        ];
        match one_seed.iter().find(|(wanted, _)| *wanted && self.seed.is_none()) {
            Some((_, option)) => Some(format!("{option} needs --seed N")),
            None if self.seed.is_some() && sweeps => {
                Some("--seed N is one run: leave --seeds and --budget out".to_owned())
            }
            None if self.seed.is_none() && !sweeps && self.inject.is_none() => {
                Some("want --seed N, --seeds N, --budget TIME or --inject NAME".to_owned())
            }
            None if self.jobs == Some(0) => Some("--jobs 0: want at least 1".to_owned()),
            None if self.seeds == Some(0) => Some("--seeds 0: want at least 1".to_owned()),
            None if self.budget == Some(Duration::ZERO) => {
                Some("--budget 0: want at least 1s".to_owned())
            }
            None => None,
        }
    }

    /// The bug to plant, and its world.
    pub fn injection(&self) -> Option<&'static Injection> {
        self.inject.as_deref().and_then(Injection::named)
    }

    /// The scenario of `seed` as this command line has it.
    ///
    /// # Errors
    /// A field that does not exist, or a value that is none.
    pub fn scenario(&self, seed: u64) -> Result<Scenario, String> {
        let base = match self.injection() {
            Some(injection) if self.seed.is_none() => injection.scenario(seed),
            _ if self.base == Base::Calm => Scenario::calm(seed),
            _ => Scenario::draw(seed),
        };
        self.overridden(base)
    }

    fn overridden(&self, mut scenario: Scenario) -> Result<Scenario, String> {
        for set in &self.set {
            let Some((name, value)) = set.split_once('=') else {
                return Err(format!("--set {set}: want NAME=VALUE"));
            };
            scenario.apply(name, value)?;
        }
        scenario.check()?;
        Ok(scenario)
    }

    /// How many seeds a sweep takes at most.
    pub fn seed_count(&self) -> u64 {
        let unsaid = match (self.budget, &self.inject) {
            (Some(_), _) => SEEDS_UNBOUNDED,
            (None, _) => SEEDS_INJECTED,
        };
        self.seeds.unwrap_or(unsaid)
    }

    /// Which command runs `scenario` again.
    pub fn replay(&self, scenario: &Scenario) -> String {
        let mut command =
            format!("cargo run --release -p estudely-sim --bin sim -- --seed {}", scenario.seed);
        if let Some(name) = &self.inject {
            command.push_str(&format!(" --inject {name}"));
        }
        let overrides = scenario.overrides();
        if overrides.is_empty() { command } else { format!("{command} {overrides}") }
    }
}

/// `--x=5` means `--x 5`, and `--nodes 5` means `--set nodes=5` for every field of a scenario.
fn rewrite(arguments: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for argument in arguments {
        match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                words.extend([name.to_owned(), value.to_owned()]);
            }
            _ => words.push(argument.clone()),
        }
    }
    let mut out = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let field = word.strip_prefix("--").and_then(Scenario::field);
        match (field, field.and_then(|_| words.next())) {
            (Some(field), Some(value)) => {
                out.extend(["--set".to_owned(), format!("{field}={value}")])
            }
            (Some(_), None) => out.push(format!("{word} needs a value")),
            (None, _) => out.push(word),
        }
    }
    out
}

/// Adds which fields an unknown option resembles.
fn with_suggestion(complaint: &str, words: &[&str]) -> String {
    let unknown = words
        .iter()
        .filter(|word| complaint.contains(**word))
        .find_map(|word| word.strip_prefix("--"));
    let Some(unknown) = unknown else { return complaint.to_owned() };
    let fields = Scenario::FIELDS.iter().map(|(_, field, _)| *field);
    format!("{complaint}{}", near(unknown, fields.chain(OPTIONS.iter().copied())))
}

/// The options that are no fields.
const OPTIONS: &[&str] = &[
    "seed",
    "seeds",
    "seed_from",
    "budget",
    "jobs",
    "check",
    "shrink",
    "shrink_runs",
    "inject",
    "list_injections",
    "curve",
    "trace",
    "set",
    "calm",
    "explain",
    "version",
    "help",
];

fn parse_budget(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(format!("{text}: want a time like 60s, 5m or 2h")),
    };
    let count =
        digits.parse::<u64>().map_err(|_| format!("{text}: want a time like 60s, 5m or 2h"))?;
    Ok(Duration::from_secs(count.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, Refusal> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_field_is_an_option_in_any_spelling() {
        for text in
            ["--seed 3 --dead-nodes 44", "--seed 3 --dead_nodes=44", "--seed=3 --set dead-nodes=44"]
        {
            let options = parse(text).expect(text);
            let scenario = options.scenario(3).expect("scenario");
            assert_eq!(scenario.dead_nodes, 44, "{text}");
            let replay = options.replay(&scenario);
            assert!(replay.ends_with("--bin sim -- --seed 3 --dead-nodes 44"), "{replay}");
        }
    }

    #[test]
    fn an_injection_replays_in_its_own_world() {
        let options = parse("--inject skip-hash").expect("options");
        let scenario = options.scenario(2).expect("scenario");
        let replay = options.replay(&scenario);
        let arguments: Vec<String> =
            replay.split_once(" -- ").expect("arguments").1.split(' ').map(str::to_owned).collect();
        let again = Options::parse(&arguments).expect("options");
        assert_eq!(again.scenario(2).expect("scenario"), scenario);
        assert_eq!(again.inject.as_deref(), Some("skip-hash"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "--seed N"),
            ("--seed x", "seed"),
            ("--seed 1 --seeds 5", "--seeds"),
            ("--check", "--seed N"),
            ("--seed 1 --nodez 5", "nodes"),
            ("--seed 1 --set nodez=5", "nodes"),
            ("--seed 1 --nodes", "needs a value"),
            ("--seed 1 --nodes five", "nodes=five"),
            ("--seed 1 --dead-nodes 101", "dead-nodes"),
            ("--inject skip-hahs", "skip-hash"),
            ("--budget soon", "60s"),
            ("--seeds 5 --jobs 0", "--jobs"),
            ("--seeds 0", "--seeds 0"),
            ("--inject skip-hash --seeds 0", "--seeds 0"),
            ("--budget 0s", "--budget 0"),
        ] {
            match parse(text) {
                Err(Refusal::Complaint(said)) => assert!(said.contains(reason), "{text}: {said}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(matches!(parse("--help"), Err(Refusal::Help(_))));
        assert!(parse("--list-injections").is_ok() && parse("--version").is_ok());
        assert_eq!(parse("--budget 2m").expect("options").budget, Some(Duration::from_secs(120)));
    }
}
