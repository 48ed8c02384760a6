//! `crawl`: see `app` for what happens in which order, `args` for the command line, `sink` for
//! what is written, `run` for the engine.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(estudely_io_smol::app::main(std::env::args_os().skip(1)))
}
