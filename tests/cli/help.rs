//! The help text is pinned: a change to it is a change that users see. To accept a new text,
//! write what `crawl [FORM] --help` prints over the file named in the failure.

use crate::World;

fn check(words: &[&str], file: &str, pinned: &str) {
    let ran = World::new().run(words);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{words:?}");
    assert!(ran.stdout == pinned, "tests/cli/help/{file} differs from:\n{}", ran.stdout);
}

#[test]
fn every_form_prints_its_pinned_help_on_stdout() {
    check(&["--help"], "crawl.txt", include_str!("help/crawl.txt"));
    check(&["peers", "--help"], "peers.txt", include_str!("help/peers.txt"));
    check(&["fetch", "--help"], "fetch.txt", include_str!("help/fetch.txt"));
    check(&["get", "--help"], "get.txt", include_str!("help/get.txt"));
}

#[test]
fn help_has_three_spellings_and_needs_nothing_else_to_be_right() {
    let pinned = include_str!("help/crawl.txt");
    check(&["-h"], "crawl.txt", pinned);
    check(&["help"], "crawl.txt", pinned);
    check(&["help", "get"], "get.txt", include_str!("help/get.txt"));
    check(&["help", "fetch"], "fetch.txt", include_str!("help/fetch.txt"));
    check(&["--rate", "x", "--help"], "crawl.txt", pinned);
}

#[test]
fn help_fits_80_columns() {
    for form in [&["-h"][..], &["peers", "-h"], &["fetch", "-h"], &["get", "-h"]] {
        let wide = World::new().run(form).stdout.lines().map(|line| line.chars().count()).max();
        assert!(wide.is_some_and(|wide| wide <= 80), "{form:?}: {wide:?}");
    }
}

#[test]
fn the_version_is_printed_on_stdout() {
    let ran = World::new().run(&["--version"]);
    assert_eq!(ran.status, Some(0));
    assert_eq!(ran.stdout, format!("crawl {}\n", env!("CARGO_PKG_VERSION")));
}
