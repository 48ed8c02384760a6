//! A checker that never fired is not trusted: each planted bug must be caught, by a rule that it
//! was planted for, the command printed must show it again, and without the bug the same world
//! holds.

use estudely_sim::command::Options;
use estudely_sim::inject::INJECTIONS;
use estudely_sim::rule::RULES;
use estudely_sim::scenario::Scenario;
use estudely_sim::verdict::Failure;

use crate::commands::{line, on_all_cores, options, run};

/// Seeds tried for each bug. `sim --inject` tries more.
const SEEDS: u64 = 8;

#[test]
fn each_planted_bug_is_caught_by_its_rule_and_replayed_by_the_command_printed() {
    assert!(INJECTIONS.len() >= 10);
    let complaints = on_all_cores(INJECTIONS.len(), |at| complaint(INJECTIONS[at].bug.name()));
    let complaints: Vec<String> = complaints.into_iter().flatten().collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What is wrong about how the bug `name` was caught.
fn complaint(name: &str) -> Option<String> {
    let options = options(&["--inject", name]);
    let Some((scenario, failure)) = catch(&options) else {
        return Some(format!("{name} was planted in {SEEDS} seeds and not caught"));
    };
    let said = line(&options, &scenario, &failure);
    let rules = options.injection()?.rules;
    if !rules.contains(&failure.rule.as_str()) {
        return Some(format!("{name} is for rules {rules:?}, not: {said}"));
    }
    let rule = RULES.iter().find(|rule| rule.mark == failure.rule);
    if rule.is_some_and(|rule| !said.contains(&format!("rule {} ({})", rule.mark, rule.name))) {
        return Some(format!("{name}: the rule is not named: {said}"));
    }
    if let Some(failure) = run(&sound(scenario.seed), &scenario).failure {
        return Some(format!("{name}: the same world breaks without it: {failure}"));
    }
    let again = replay(&said);
    (again.as_ref() != Some(&failure)).then(|| format!("{name}: {said}, replayed: {again:?}"))
}

/// No bug planted.
fn sound(seed: u64) -> Options {
    options(&["--seed", &seed.to_string(), "--calm"])
}

/// The first seed in which the bug that `options` plants shows.
fn catch(options: &Options) -> Option<(Scenario, Failure)> {
    (1..=SEEDS).find_map(|seed| {
        let scenario = options.scenario(seed).expect("a scenario");
        run(options, &scenario).failure.map(|failure| (scenario, failure))
    })
}

/// What the command that stands in a line of output does when pasted.
fn replay(said: &str) -> Option<Failure> {
    let (_, arguments) = said.split_once("--bin sim -- ")?;
    let options = options(&arguments.split(' ').collect::<Vec<_>>());
    let scenario = options.scenario(options.seed?).ok()?;
    run(&options, &scenario).failure
}
