//! Suites that cross crates. The library holds only the bodies of the fuzz targets, free of
//! libFuzzer, so that `cargo test` replays their corpora; everything else lives in `tests/`.

pub mod fuzz;
