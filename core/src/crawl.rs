//! The crawl: what is worked on, what is tried next, when it is settled, and what it may cost.
//!
//! The only room that knows both the DHT and the peers.

pub(crate) mod pace;
pub(crate) mod standing;
pub(crate) mod fair_line;
pub(crate) mod samples;
pub(crate) mod admission;
pub(crate) mod again;
pub mod row;
pub(crate) mod rows;
pub(crate) mod deadline;
pub(crate) mod dial;
pub mod attempts;
pub(crate) mod habits;
pub(crate) mod jobs;
pub(crate) mod dialer;
pub(crate) mod streams;
pub(crate) mod outage;
pub mod session;
pub mod crawler;
