//! A virtual DHT and its BitTorrent peers, for simulated runs of the crawler and for loopback.
//!
//! # Reading order
//!
//! The rooms are listed from the ground up, and each names only what stands above it in this list:
//!
//! - [`world`]: the ground truth, and the scenario it follows from.
//! - [`actors`]: sans-IO nodes and peers (bytes and virtual time in, bytes out) that play it.
//! - [`net`]: events at the boundary, links and their faults, what is under way.
//! - [`judge`]: the rules, the checker, the trace and the curve; they observe events.
//! - [`subject`]: the crawler under test with its connections, files and clock.
//! - [`run`]: a harness moves what one has for the other ([`direct`] in a plain loop, [`gateway`] on
//!   turmoil); the verdict on a run; planted bugs, shrinking, commands.
//! - [`swarm`]: the same world on real loopback sockets.
//!
//! The same order holds among the modules of a room, as its first file lists them. A module and the
//! folder of its name are one: within it, a child may name its parent.
//!
//! Actors use the core's codecs and nothing else of it: a fault in the crawler's tables or walks
//! must not be mirrored here.

#![forbid(unsafe_code)]

pub mod world;
pub mod actors;
pub mod net;
pub mod judge;
pub mod subject;
pub mod run;
pub mod swarm;

pub use actors::{node, peer};
pub use judge::{checker, curve, rule, trace};
pub use net::{event, link};
pub use run::{command, direct, gateway, inject, shrink, verdict};
pub use world::{addresses, routing, scenario, torrent, truth, universe, vice};
