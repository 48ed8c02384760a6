//! What the core asks of the allocator: nothing per datagram once it is warm, a handful of blocks
//! per exchange, a bounded number of bytes per thing remembered.
//!
//! The figures are pinned where they stand; one that grows is a regression to be argued for.

mod counting;
mod datagrams;
mod exchanges;
mod known;
mod network;
mod strangers;
mod utp;
