//! Whole runs of the built `crawl`: against real BitTorrent clients, without any network, and
//! killed in the middle. Everything here goes through the command line and the files it writes.
//!
//! Needs Linux (all of 127/8 is loopback there). The real clients come from `tests/clients`; where
//! they are not installed their tests say so on stderr and pass, except under `CI=true`.

#![cfg(target_os = "linux")]

mod clients;
mod examples;
mod offline;
mod program;
mod real_clients;
mod resilience;
mod state;
mod table;
mod traffic;
mod truth;
mod utp;
