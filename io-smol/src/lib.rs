//! The smol adapter: sockets, names, signals, the clock and files around the pure core, and the
//! command `crawl`.
//!
//! Nothing here knows a protocol: datagrams and stream bytes go into the core as they came, and
//! what the core hands out is sent as it is.
//!
//! The rooms, from the ground up; each names only those that stand above it in this list. Reading
//! order: [`run`] is the loop, the rest are the parts it turns.

pub mod text;
pub mod entropy;
mod files;
mod engine;
mod cli;

pub use cli::{app, args, progress, report};
pub use engine::{clock, dns, run, signal, tcp, udp};
pub use files::{hashes, lists, requests, resume, sink, state};
