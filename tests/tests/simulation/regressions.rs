//! Seeds that once broke a rule: each must hold for ever. A line names what it found.

use crate::commands::{line, on_all_cores, options, run};

/// Arguments of `sim`, and the defect that this run once showed.
const FOUND: &[(&str, &str)] = &[
    (
        "--seed 79",
        "a walk ended when two lying nodes had named ten peers, and honest answers under way were dropped",
    ),
    (
        "--seed 303",
        "the checker demanded what a link of 24 KB/s could not carry before peers timed out",
    ),
    (
        "--seed 36 --eclipse 8",
        "colluding nodes nearest to the key ended a lookup while the answer was still due",
    ),
    ("--seed 1011", "a limit on infohashes promises rows, not every torrent that is due"),
];

/// Seeds of the first sweeps, each of which broke a rule then.
const SWEPT: &[u64] =
    &[7, 16, 26, 49, 55, 59, 60, 64, 67, 97, 101, 103, 108, 151, 1005, 1010, 1030, 1055];

#[test]
fn what_was_found_once_stays_mended() {
    let found = FOUND.iter().map(|(arguments, defect)| ((*arguments).to_owned(), *defect));
    let swept = SWEPT.iter().map(|seed| (format!("--seed {seed}"), "a rule in an early sweep"));
    let cases: Vec<(String, &str)> = found.chain(swept).collect();
    let failures = on_all_cores(cases.len(), |at| {
        let (arguments, defect) = &cases[at];
        let options = options(&arguments.split(' ').collect::<Vec<_>>());
        let seed = options.seed.expect("every line has its seed");
        let scenario = options.scenario(seed).expect("a scenario");
        let failure = run(&options, &scenario).failure?;
        Some(format!("{} (once: {defect})", line(&options, &scenario, &failure)))
    });
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
