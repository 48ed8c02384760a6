//! The smol adapter: sockets, names, signals, the clock and files around the pure core, and the
//! command `crawl`.
//!
//! Nothing here knows a protocol: datagrams and stream bytes go into the core as they came, and
//! what the core hands out is sent as it is. Reading order: [`run`] is the loop; the rest are the
//! parts it turns.

mod alarms;
pub mod app;
pub mod args;
pub mod clock;
pub mod dns;
pub mod entropy;
pub mod files;
pub mod hashes;
pub mod pairs;
pub mod progress;
pub mod report;
pub mod resume;
pub mod run;
pub mod signal;
pub mod sink;
pub mod state;
pub mod tcp;
pub mod text;
pub mod udp;
