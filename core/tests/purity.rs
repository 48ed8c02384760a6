//! What the source must never contain. clippy's `disallowed-*` lists catch most of it by type;
//! this scan also catches what is never compiled on the machine that runs the lints, and the rules
//! of style that no lint knows.

mod source;

use std::fs;
use std::path::Path;

use source::{rust_files, without_comments_and_strings};

/// No source file is longer (habit: 150 to 500).
const LINES_MAX: usize = 800;

/// What the core must not name, and why.
const FORBIDDEN: [(&str, &str); 30] = [
    ("std::time::Instant", "time is an argument: use crate::time::Instant"),
    ("SystemTime", "the core has no wall clock"),
    ("Instant::now", "the core has no clock"),
    ("UdpSocket", "the core does no I/O"),
    ("TcpStream", "the core does no I/O"),
    ("TcpListener", "the core does no I/O"),
    ("UnixStream", "the core does no I/O"),
    ("ToSocketAddrs", "the core resolves no names"),
    ("std::io", "the core does no I/O"),
    ("std::fs", "the core does no I/O"),
    ("std::env", "the core does not read its environment"),
    ("std::process", "the core starts and ends no process"),
    ("std::thread", "the core has no threads"),
    ("thread_local!", "the core has no threads"),
    ("RandomState", "map order must not depend on the process: use store::KeyedState"),
    ("HashMap::new", "randomly seeded: use store::KeyedMap"),
    ("HashSet::new", "randomly seeded: use store::KeyedState"),
    ("HashMap::default", "randomly seeded: use store::KeyedMap"),
    ("HashSet::default", "randomly seeded: use store::KeyedState"),
    ("thread_rng", "randomness is a seed argument: use crate::rng"),
    ("getrandom", "randomness is a seed argument: use crate::rng"),
    ("OsRng", "randomness is a seed argument: use crate::rng"),
    ("async fn", "the core is sans-IO: no executor"),
    (".await", "the core is sans-IO: no executor"),
    ("unsafe", "the core forbids unsafe code"),
    ("println!", "the core never prints"),
    ("print!", "the core never prints"),
    ("eprintln!", "the core never prints"),
    ("eprint!", "the core never prints"),
    ("dbg!", "the core never prints"),
];

/// The exemptions: bugs are planted per thread, by the simulator alone; work is counted per thread,
/// in tests alone.
const EXEMPT: [(&str, &str); 2] = [("planted.rs", "thread_local!"), ("work.rs", "thread_local!")];

#[test]
fn the_core_names_no_clock_socket_thread_file_or_ambient_randomness() {
    let mut findings = Vec::new();
    for file in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let source = fs::read_to_string(&file).expect("source files are readable UTF-8");
        // Two files of the same name but other folders must not slip through.
        let exempt = EXEMPT.iter().find(|(name, _)| file.ends_with(Path::new("base").join(name)));
        let found = violations(&source).into_iter();
        let found = found.filter(|v| exempt.is_none_or(|(_, word)| !v.contains(word)));
        findings.extend(found.map(|v| format!("{}:{v}", file.display())));
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn no_source_file_of_any_crate_is_longer_than_the_limit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate has a workspace");
    let crates = fs::read_dir(root).expect("the workspace is readable");
    let mut long = Vec::new();
    for source in crates.map(|entry| entry.expect("entry").path().join("src")) {
        for file in rust_files(&source) {
            let lines = fs::read_to_string(&file).expect("readable UTF-8").lines().count();
            if lines > LINES_MAX {
                long.push(format!("{}: {lines} lines, at most {LINES_MAX}", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

/// Canaries: a scan that has never fired is not trusted.
#[test]
fn the_scan_sees_every_forbidden_name_and_only_in_code() {
    for (name, _) in FORBIDDEN {
        assert_eq!(violations(&format!("fn f() {{\n    {name}\n}}")).len().min(1), 1, "{name}");
        let hidden = format!("// {name}\n/* {name}\n{name} */ fn f() {{}} /// {name}\n\"{name}\";");
        assert_eq!(violations(&hidden), Vec::<String>::new(), "{name} in comments and strings");
    }
    let allowed = "#![forbid(unsafe_code)]\nuse crate::time::Instant;\nuse core::time::Duration;\n\
                   let life: &'static str = \"//\"; let quote = '\"'; let mark = '\\''; blueprint!();";
    assert_eq!(violations(allowed), Vec::<String>::new());
    assert_eq!(violations("use std::{fs, net::SocketAddr};").len(), 1, "grouped imports");
    assert_eq!(violations("use std::time::{Duration, Instant};").len(), 1, "grouped imports");
    assert_eq!(violations("let quote = '\"'; std::fs::read(p);").len(), 1, "after a quote");
}

/// Each violation as `line: name: reason`.
fn violations(source: &str) -> Vec<String> {
    let code = without_comments_and_strings(source);
    let mut out = Vec::new();
    for (number, line) in code.lines().enumerate().map(|(n, line)| (n + 1, line)) {
        for (name, reason) in FORBIDDEN {
            if names(line, name) {
                out.push(format!("{number}: {name}: {reason}"));
            }
        }
        out.extend(grouped(line).map(|name| format!("{number}: {name}: grouped import")));
    }
    out
}

/// Whether `line` contains `name` as a whole, not as part of a longer word.
fn names(line: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(word);
        let after = line[at + name.len()..].chars().next().is_some_and(word);
        let (first, last) = (name.starts_with(word), name.ends_with(word));
        !(before && first || after && last)
    })
}

/// Forbidden modules and types that an import in braces would hide from a search by path.
fn grouped(line: &str) -> impl Iterator<Item = &'static str> {
    let std = line.trim_start().strip_prefix("use std::").map(|rest| {
        rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_owned).collect()
    });
    let braced = line.contains('{');
    let words: Vec<String> = std.unwrap_or_default();
    let hidden = ["fs", "env", "thread", "io", "process", "Instant"];
    hidden.into_iter().filter(move |name| braced && words.iter().any(|word| word == name))
}
