//! The smol adapter: sockets, names, signals, the clock and files around the pure core.
//!
//! Nothing here knows a protocol: datagrams and stream bytes go into the core as they came, and
//! what the core hands out is sent as it is. Reading order: [`run`] is the loop; the rest are the
//! parts it turns.

pub mod clock;
pub mod run;
// Stand-ins for core modules that have not landed yet.
#[doc(hidden)]
pub mod standin;
