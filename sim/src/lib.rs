//! A virtual DHT and its BitTorrent peers, for simulated runs of the crawler and for loopback.
//!
//! # Reading order
//!
//! The rooms are listed from the ground up, and each names only what stands above it in this list:
//!
//! - [`world`]: the ground truth, and the scenario it follows from.
//! - [`actors`]: sans-IO nodes and peers (bytes and virtual time in, bytes out) that play it.
//! - [`net`]: events at the boundary, links and their faults, what is under way.
//! - [`judge`]: the rules and the checker, the trace, the curve and the score; they only look on.
//! - [`subject`]: the crawler under test with its connections, files and clock.
//! - [`run`]: a harness moves what one has for the other ([`direct`] in a plain loop, [`gateway`]
//!   on turmoil); the verdict on a run; planted bugs, shrinking, commands.
//! - [`swarm`]: the same world on real loopback sockets.
//!
//! The same order holds among the modules of a room, as its first file lists them. A module and the
//! folder of its name are one: within it, a child may name its parent.
//!
//! Actors use the core's codecs and nothing else of it: a fault in the crawler's tables or walks
//! must not be mirrored here.
//!
//! # What is not simulated
//!
//! A green run says nothing about these; the suites named show some of them elsewhere.
//!
//! - **The adapter and the kernel.** No run has a real socket, file, signal or name look-up.
//!   Nothing is short of descriptors, buffers or ports. A datagram is sent at once, and a send
//!   never fails. `tests/tests/conformance` plays the same conversations over smol and over
//!   turmoil; `tests/tests/end_to_end` runs the built program.
//! - **ICMP.** A datagram to an address without a resident is lost without a word.
//! - **Home routers.** The budget of new flows is judged; no router runs out of table entries or
//!   changes a port, and the crawler's own address stays the same for the whole run.
//! - **TCP below the stream.** Delay, chunks, resets, stalls, partitions and the first packet's
//!   repeats are there; windows, congestion, keep-alive and half-closed connections are not.
//! - **Full, slow or lying disks.** A kill tears the last write of the state file. No write fails,
//!   and what was saved before that write stays as it was.
//! - **A DHT that reacts.** Nodes answer from the truth. They learn nothing from traffic but who
//!   announced to them, send no lookups, and query the crawler only now and then. Churn moves on in
//!   steps of an epoch, not with each event.
//! - **Other crawlers, and load.** A node answers as fast when it is asked a thousand times a
//!   second.
//! - **PEX, trackers, announces by peers.** A peer takes TCP, uTP or both, in the clear or encrypted,
//!   and serves metadata only. It dials nobody. The checker can judge a crawler that serves; no world
//!   asks for it.
//! - **Threads.** Connections run on the thread of the core, one event after the other.
//! - **Real sizes of the network.** 100 000 nodes fit; the DHT has millions.

#![forbid(unsafe_code)]

pub mod world;
pub mod actors;
pub mod net;
pub mod judge;
pub mod subject;
pub mod run;
pub mod swarm;

pub use actors::{decoy, mse, node, peer};
pub use judge::{checker, curve, rule, score, trace};
pub use net::{event, link};
pub use run::{command, direct, gateway, inject, shrink, verdict};
pub use world::{addresses, routing, scenario, torrent, truth, universe, vice};
