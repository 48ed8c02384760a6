//! Scenarios as the sweep draws them: fixed seeds, which must hold today and tomorrow, and one that
//! changes with every commit.

use std::path::Path;
use std::process::Command;

use crate::commands::{hold, line, on_all_cores, options, run};

/// Seeds that every change runs. Their scenarios change only when the drawing does.
const FIXED: std::ops::RangeInclusive<u64> = 1..=24;

#[test]
fn fixed_seeds_hold() {
    let seeds: Vec<u64> = FIXED.collect();
    assert!(seeds.len() >= 20);
    let failures = on_all_cores(seeds.len(), |at| {
        let options = options(&["--seed", &seeds[at].to_string()]);
        let scenario = options.scenario(seeds[at]).expect("a scenario");
        let verdict = run(&options, &scenario);
        verdict.failure.map(|failure| line(&options, &scenario, &failure))
    });
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_seed_of_this_very_commit_holds() {
    let seed = seed_of(&commit().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()));
    let options = options(&["--seed", &seed.to_string()]);
    hold(&options, &options.scenario(seed).expect("a scenario"));
}

/// The commit that is checked out; `None` without a repository or without git.
fn commit() -> Option<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let said = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(here).output().ok()?;
    let commit = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    (said.status.success() && !commit.is_empty()).then_some(commit)
}

/// A seed of any text. `.ci/run` takes the first digits of the commit alike.
fn seed_of(text: &str) -> u64 {
    let digits = text.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    digits.unwrap_or_else(|| text.bytes().fold(0, |seed, byte| seed << 8 | u64::from(byte)))
}
