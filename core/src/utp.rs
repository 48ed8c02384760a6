//! uTP (BEP 29): byte streams over UDP that yield to other traffic, as the one who connects.
//!
//! Pure machines: packets and time go in, packets and bytes come out. Knows nothing of BitTorrent,
//! and of this crate only time, randomness, containers and limits.
//!
//! - [`packet`]: a datagram as a header, a chain of extensions and a payload. No state.
//! - [`stream`]: one connection: order, loss, congestion, bounds, the end.
//! - [`endpoint`]: many of them on one socket, with one rate.
//!
//! # How it is driven
//!
//! ```
//! use estudely_core::keyed::Rng;
//! use estudely_core::utp::{Endpoint, Fault, State, is_utp};
//! use estudely_core::{Duration, Instant, Seed};
//!
//! let rng = Rng::new(Seed::from_u64(1));
//! let mut endpoint: Endpoint<&str> = Endpoint::new(100, 1_000, rng);
//! let mut now = Instant::from_micros(1);
//! let peer = "20.0.0.1:6881".parse()?;
//! let id = endpoint.connect(now, peer, now + Duration::from_secs(8), "mine").expect("room");
//! endpoint.write(id, b"what is said first");
//! let mut datagram = Vec::new();
//! loop {
//!     // 1. What changed: read, write, close.
//!     while let Some(id) = endpoint.poll_changed() {
//!         let mut bytes = [0; 4_096];
//!         while let count @ 1.. = endpoint.read(id, &mut bytes) {
//!             println!("{count} bytes for {:?}", endpoint.value(id));
//!         }
//!     }
//!     if endpoint.stream(id).is_some_and(|stream| stream.state().is_over()) {
//!         break;
//!     }
//!     // 2. What is to be sent.
//!     while let Some(transmit) = endpoint.poll_transmit(now, &mut datagram) {
//!         // socket.send_to(&datagram, transmit.to)
//!         assert!(transmit.len <= 548 && is_utp(datagram[0]));
//!         datagram.clear();
//!     }
//!     // 3. Wait for a datagram, for `handle_datagram`, but no longer than this. None comes here.
//!     now = endpoint.poll_timeout().expect("a stream that is not over is due some time").max(now);
//!     endpoint.handle_timeout(now);
//! }
//! let state = endpoint.stream(id).map(|stream| stream.state());
//! assert_eq!(state, Some(State::Failed(Fault::ConnectTimeout)));
//! assert_eq!(endpoint.close(id), Some("mine"));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! A caller that expects much says so with [`Endpoint::expect`] once it has reason to: until then a
//! stream holds less than 4 KiB, and its peer may have two packets on their way.
//!
//! # What it does not do
//!
//! It takes no connection from others, sends no packet of more than 548 bytes, and so probes no
//! path. A stream on which nothing is to be delivered never fails by itself: how long to wait for a
//! peer that is silent is the caller's to say.

pub mod seq;
pub mod packet;
pub mod fault;
mod rtt;
mod delay;
mod congestion;
mod flight;
mod send;
mod receive;
mod acks;
mod syn;
pub mod stream;
mod agenda;
mod rate;
pub mod endpoint;

pub use endpoint::{Endpoint, StreamId, Transmit};
pub use fault::Fault;
pub use packet::is_utp;
pub use stream::{Reception, State, Stream};
