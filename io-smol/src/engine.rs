//! The core in the world: sockets, names, signals, the clock, and the loop that turns them.
//!
//! It moves bytes and takes no decision. Of the files it knows the traits that it drives.
//! The modules are listed from the ground up.

pub mod clock;
pub mod signal;
pub mod dns;
pub(crate) mod descriptors;
pub(crate) mod bind;
pub(crate) mod error;
pub mod udp;
pub(crate) mod alarms;
pub(crate) mod carrier;
pub mod tcp;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod wake;
pub(crate) mod sockets;
pub(crate) mod names;
pub(crate) mod feed;
pub(crate) mod outputs;
pub(crate) mod warm;
pub(crate) mod driver;
pub mod run;
