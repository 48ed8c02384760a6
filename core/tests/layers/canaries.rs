//! Arrows planted in a small crate: each kind is found, and what is allowed is not.

use super::{Order, faults};
use crate::modules::Tree;

const ORDER: &Order = &[&["ground"], &["left", "right"], &["roof"]];

/// A crate that keeps the order, with `text` added to the file at `path`.
fn with(path: &str, text: &str) -> Vec<String> {
    let mut files: Vec<(&str, String)> = [
        ("lib.rs", "mod ground; mod left; mod right; mod roof; pub use roof::crawler::Crawler;"),
        ("ground.rs", "pub mod a; pub mod b; pub mod c; pub mod d;"),
        ("ground/a.rs", "pub struct A;"),
        ("ground/b.rs", "use crate::ground::a::A; pub struct B(A);"),
        ("ground/c.rs", "use super::b::B; pub struct C(B);"),
        ("ground/d.rs", ""),
        ("ground/d/deep.rs", ""),
        ("left.rs", "use crate::ground::{a::A, b::B};"),
        ("left/inner.rs", "use super::*;"),
        ("right.rs", "mod part; pub use self::part::Part; pub use crate::ground::c::C;"),
        ("right/part.rs", "pub struct Part;"),
        ("roof.rs", "pub mod crawler; use crate::{left, right::Part};"),
        ("roof/crawler.rs", "pub struct Crawler; fn f() { crate::ground::a::f(); }"),
    ]
    .map(|(path, text)| (path, text.to_owned()))
    .into();
    match files.iter_mut().find(|(name, _)| *name == path) {
        Some((_, old)) => old.push_str(&format!("\n{text}")),
        None => files.push((path, text.to_owned())),
    }
    faults(&Tree::new(&files), ORDER)
}

#[track_caller]
fn assert_found(path: &str, text: &str, expected: &str) {
    let found = with(path, text);
    assert!(found.iter().any(|fault| fault.contains(expected)), "{text} in {path}: {found:?}");
}

#[test]
fn a_crate_that_keeps_the_order_has_no_fault() {
    assert_eq!(with("left.rs", ""), Vec::<String>::new());
    for (path, text) in [
        ("roof.rs", "use crate::{ground, left::inner, right};"),
        ("left.rs", "// use crate::roof::crawler::Crawler;\nconst S: &str = \"crate::roof::x\";"),
        ("left.rs", "use std::collections::BTreeMap; use other::roof::Crawler;"),
        // A file and those inside it are one unit, whichever names the other.
        ("right/part.rs", "use super::Part; use crate::right::C;"),
        ("ground/d.rs", "mod deep; fn f() { deep::g(); }"),
        ("ground/d/deep.rs", "use super::f;"),
        // So are tests and what they share.
        ("ground/a.rs", "#[cfg(test)] mod tests { use crate::ground::b::B; }"),
    ] {
        assert_eq!(with(path, text), Vec::<String>::new(), "{text} in {path}");
    }
}

#[test]
fn an_arrow_upwards_is_found_however_it_is_spelled() {
    for text in [
        "use crate::roof::crawler::Crawler;",
        "use crate::roof;",
        "use crate::{ground::a, roof::crawler};",
        "use crate::{ground::{a, b::B}, roof::{self, crawler::{Crawler as Other}}};",
        "pub(crate) use crate::roof::crawler::{\n    Crawler,\n};",
        "fn f() { crate::roof::crawler::x() }",
        "fn f(crawler: &crate::roof::crawler::Crawler) {}",
        "macro_rules! m { () => { $crate::roof::crawler::x() } }",
        "mod inside { fn f() { super::super::roof::x() } }",
        "mod inside { use super::super::roof::crawler as r; }",
        "use super::roof::crawler::Crawler;",
        "use crate as all; fn f() { all::roof::x() }",
        "use super::*; fn f() { use crate::roof::crawler; }",
        "#[cfg(test)] mod tests { use super::*; use crate::roof::crawler; }",
    ] {
        assert_found("left.rs", text, "is of roof");
    }
    assert_found("left/inner.rs", "use super::super::roof::crawler::Crawler;", "is of roof");
    assert_found("left/inner.rs", "fn f() { super::super::roof::f() }", "is of roof");
    assert_found("ground/a.rs", "use crate::left::inner;", "is of left::inner");
}

#[test]
fn an_arrow_through_a_re_export_is_found() {
    assert_found("ground/a.rs", "use crate::Crawler;", "is of roof::crawler");
    assert_found("left.rs", "fn f() { crate::Crawler::new() }", "is of roof::crawler");
    assert_found("left.rs", "use crate::right::C;", "crate::right::C is of right");
    assert_found("ground/a.rs", "use crate::Nothing;", "is of the crate root");
    assert_found("ground.rs", "pub use crate::roof::crawler::*;", "is of roof::crawler");
    let files = [
        ("lib.rs", "mod ground; mod left; mod roof;"),
        ("ground.rs", "pub use self::a::*; pub use crate::roof::*;"),
        ("ground/a.rs", "pub struct A;"),
        ("left.rs", "use crate::ground::{A, Tile};"),
        ("roof.rs", "pub struct Tile;"),
    ];
    let found = faults(&Tree::new(&files), ORDER);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("ground line 1: crate::roof is of roof"), "{found:?}");
    assert!(found[1].starts_with("left line 1: crate::ground::Tile is of roof"), "{found:?}");
}

#[test]
fn rooms_of_one_step_never_name_each_other() {
    assert_found("left.rs", "use crate::right::Part;", "is of right::part");
    assert_found("right/part.rs", "use crate::left;", "is of left");
}

#[test]
fn a_circle_of_modules_side_by_side_is_found() {
    assert_found("ground/a.rs", "use crate::ground::b::B;", "a circle in ground: a > b");
    assert_found("ground/a.rs", "fn f() -> super::c::C { C }", "a circle in ground: a > c > b");
    assert_found("ground/a.rs", "use crate::ground; fn f() { ground::c::g() }", "a > c > b");
    // What lies inside a module counts as that module.
    let through = "use crate::ground::d::deep;";
    assert_eq!(with("ground/a.rs", through), Vec::<String>::new());
    let files = [
        ("lib.rs", "mod ground;"),
        ("ground.rs", "mod a; mod d; pub use d::deep::Deep;"),
        ("ground/a.rs", "use super::Deep;"),
        ("ground/d.rs", "mod deep;"),
        ("ground/d/deep.rs", "use super::super::a::A; pub struct Deep;"),
    ];
    assert_eq!(faults(&Tree::new(&files), ORDER), ["a circle in ground: a > d"]);
}

#[test]
fn a_room_without_a_place_in_the_order_is_found() {
    assert_found("attic.rs", "", "attic has no place in the order");
}
