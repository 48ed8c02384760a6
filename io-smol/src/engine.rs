//! The core in the world: sockets, names, signals, the clock, and the loop that turns them.
//!
//! It moves bytes and takes no decision. Of the files it knows the traits that it drives.

pub(crate) mod alarms;
pub(crate) mod bind;
pub mod clock;
pub(crate) mod descriptors;
pub mod dns;
pub(crate) mod driver;
pub(crate) mod error;
pub(crate) mod feed;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod outcome;
pub mod run;
pub mod signal;
pub mod tcp;
pub mod udp;
pub(crate) mod warm;
