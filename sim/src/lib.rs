//! A virtual DHT and its BitTorrent peers.
//!
//! The [`world`] is the ground truth; [`node`] and [`peer`] are sans-IO actors (bytes and virtual
//! time in, bytes out) that play it honestly; [`truth`] writes down what a perfect crawl could
//! find and scores a crawl against it. [`swarm`] serves the whole on real loopback sockets.
//!
//! A [`scenario`] makes one simulated run: the crawler under test is a [`subject`], the [`net`]
//! around it holds links and actors, and a harness moves what one has for the other: [`direct`] in
//! a plain loop, [`gateway`] on turmoil. Observers ([`event`], [`curve`]) see what crosses the
//! boundary.
//!
//! Actors use the core's codecs and nothing else of it: a fault in the crawler's tables or walks
//! must not be mirrored here.

#![forbid(unsafe_code)]

pub mod addresses;
pub mod checker;
pub mod command;
pub mod curve;
pub mod direct;
mod draw;
pub mod event;
pub mod gateway;
pub mod inject;
pub mod link;
pub mod net;
pub mod node;
pub mod peer;
pub mod routing;
pub mod scenario;
pub mod shrink;
pub mod subject;
pub mod swarm;
pub mod torrent;
pub mod trace;
pub mod truth;
pub mod universe;
pub mod verdict;
pub mod vice;
pub mod world;
