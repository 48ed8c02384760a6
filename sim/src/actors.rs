//! The far end: DHT nodes and BitTorrent peers, honest, odd and hostile. Bytes and virtual time in,
//! bytes out.
//!
//! They play what the world says of them and know no link, no harness and no crawler. They use the
//! core's codecs and nothing else of it: a fault in its tables or walks must not be mirrored here.

pub mod node;
pub mod peer;
pub mod mse;
pub mod door;
pub mod decoy;
pub mod utp;
