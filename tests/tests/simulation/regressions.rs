//! Seeds that once broke a rule: each must hold for ever. A line names what it found.

use crate::commands::{line, on_all_cores, options, run};

/// Arguments of `sim`, and the defect that this run once showed.
const FOUND: &[(&str, &str)] = &[
    (
        "--seed 79",
        "a walk ended when two lying nodes had named ten peers, and honest answers under way were dropped",
    ),
    (
        "--seed 303 --connections 14",
        "the checker demanded what a link of 24 KB/s could not carry before peers timed out",
    ),
    ("--seed 655 --connections 27", "the same, on a line of 45 KB/s"),
    ("--seed 778 --connections 16", "the same, on a line of 26 KB/s"),
    (
        "--seed 36 --eclipse 8",
        "colluding nodes nearest to the key ended a lookup while the answer was still due",
    ),
    ("--seed 1011", "a limit on infohashes promises rows, not every torrent that is due"),
    (
        "--seed 613",
        "the density was read off far buckets: whole neighbourhoods were neither aimed at nor looked for",
    ),
    (
        "--seed 874 --families both --bandwidth 44669 --connections 351",
        "the same, in a DHT of both families",
    ),
    ("--seed 1793", "the same, beside hostile peers"),
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
    ("--seed 5", "a lookup was made again for an outage that had not ended it"),
    (
        "--seed 513",
        "what a closed connection had under way kept its place in the bottleneck's queue",
    ),
    (
        "--seed 441",
        "a node asked for samples again and again, its answers dropped by a bottleneck, was due all the same",
    ),
    ("--seed 939", "what a node named that had named nobody but the silent counted as work"),
    ("--seed 181", "a finer look for gaps did not wait for the answers to the last one"),
    ("--seed 128", "a low limit on new flows left nothing to dial with"),
];

/// The same defect in several seeds.
const ALIKE: &[(&[u64], &str)] = &[
    (
        &[199, 217, 598, 754, 890, 916, 937],
        "a finer look for gaps did not wait for the answers to the last one",
    ),
    (
        &[54, 335, 339, 533, 538, 699, 797],
        "more connections than a narrow line feeds timed out together, and again an hour later",
    ),
    (&[889, 983], "a peer that hung up before its offer was dialled for what another had left"),
    (
        // What broke in these was found in the first sweeps and mended before anybody wrote down
        // which was which; they are kept for whatever it was.
        &[
            7, 16, 26, 46, 49, 55, 59, 60, 64, 67, 97, 101, 103, 108, 151, 223, 495, 767, 943,
            1005, 1010, 1030, 1055,
        ],
        "a rule in the first sweeps, of which no note was kept",
    ),
];

#[test]
fn what_was_found_once_stays_mended() {
    let found = FOUND.iter().map(|(arguments, defect)| ((*arguments).to_owned(), *defect));
    let alike = ALIKE
        .iter()
        .flat_map(|(seeds, defect)| seeds.iter().map(|seed| (format!("--seed {seed}"), *defect)));
    let cases: Vec<(String, &str)> = found.chain(alike).collect();
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
