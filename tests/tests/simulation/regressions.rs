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
    (
        "--seed 613",
        "the density was read off far buckets: whole neighbourhoods were neither aimed at nor looked for",
    ),
    ("--seed 874", "the same, in a DHT of both families"),
    ("--seed 1793", "the same, with hostile nodes"),
    ("--seed 1091", "a place counted as looked at when somebody answered who names nobody"),
    ("--seed 2063", "a low limit on new flows gave all of them to the family that asked first"),
    (
        "--seed 1468",
        "the checker lost sight of a long silence where the clock may be as far behind as a short one",
    ),
    ("--seed 896", "a deferred question was sent although its infohash was settled"),
    (
        "--seed 593",
        "a peer that hung up before its offer was dialled for pieces that another had left",
    ),
    ("--seed 181", "a finer look for gaps did not wait for the answers to the last one"),
    ("--seed 128", "a low limit on new flows left nothing to dial with"),
];

/// Seeds of the first sweeps, each of which broke a rule then.
const SWEPT: &[u64] = &[
    5, 7, 16, 26, 46, 49, 54, 55, 59, 60, 64, 67, 97, 101, 103, 108, 151, 199, 217, 223, 335, 339,
    441, 495, 513, 533, 538, 598, 655, 699, 754, 767, 778, 889, 890, 916, 937, 939, 943, 983, 1005,
    1010, 1030, 1055,
];

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
