//! What a stream of uTP may hold and how long it waits (BEP 29).

use super::{DATAGRAM_LEN_MAX, PIECE_LEN};
use crate::base::time::Duration;

/// The longest UDP payload of uTP that is sent, in bytes: it passes every path, so that no path is
/// probed (29.13).
pub const UTP_SENT_MAX: usize = 548;

/// The longest UDP payload of uTP that is read, in bytes: libtorrent probes up to it (29.13).
pub const UTP_RECEIVED_MAX: usize = 1_472;

/// Bytes of the stream in the longest packet that is sent: all but its header (29.1).
pub const UTP_SEGMENT: usize = UTP_SENT_MAX - 20;

/// Bytes of the stream in the longest packet that is read; what is received is kept in slots of so
/// many.
pub const UTP_SLOT: usize = UTP_RECEIVED_MAX - 20;

/// Slots for what one stream received, before its caller accepted a size; with what it sends they
/// are less than 4 KiB. One of them is kept for the packet that is next in order.
pub const UTP_SLOTS_FIRST: usize = 2;

/// The same once a size was accepted, at most: 1 MiB, as libtorrent and libutp have (29.7, H32).
pub const UTP_SLOTS_MAX: usize = (1 << 20) / UTP_SLOT;

/// How far beyond the next packet in order one is kept, in packets, before a size was accepted.
pub const UTP_REORDER_FIRST: usize = 4;

/// The same once a size was accepted (H32).
pub const UTP_REORDER_MAX: usize = 1_024;

/// Bytes written and not acknowledged that one stream holds, before a size was accepted: a packet
/// full, which is more than both handshakes.
pub const UTP_SEND_FIRST: usize = UTP_SEGMENT;

/// The same once a size was accepted: four hundred requests.
pub const UTP_SEND_MAX: usize = 24 * 1024;

/// Packets on their way that are not acknowledged, before a size was accepted.
pub const UTP_FLIGHT_FIRST: usize = 4;

/// The same once a size was accepted.
pub const UTP_FLIGHT_MAX: usize = 128;

/// SYNs of one connection, each with an id of its own (29.8).
pub const UTP_SYNS_MAX: usize = 3;

/// A SYN without an answer for so long is followed by another one; twice as long for each further
/// one (29.7, 29.8).
pub const UTP_SYN_TIMEOUT: Duration = Duration::from_secs(1);

/// Time for a peer to take a stream: SYNs leave after 0, 1 and 3 s, and the last one has 1.5 s for
/// its answer. A host without uTP is silent (29.8), so that most streams wait in vain.
pub const UTP_CONNECT_TIMEOUT: Duration = Duration::from_millis(4_500);

/// Pieces of metadata asked for at once over uTP: libtorrent answers what does not fit its queue
/// once a second, which is ten of them.
pub const UTP_REQUESTS_AT_ONCE: u16 = 8;

/// Bytes that are expected of a stream at a time, however much is to come: what is asked for at
/// once, and room for what comes twice. So two hundred streams hold 32 MiB at most, and not 200.
pub const UTP_EXPECTED_MAX: usize = (UTP_REQUESTS_AT_ONCE as usize + 2) * PIECE_LEN;

/// Time for an acknowledgement before the first round trip is measured (29.6).
pub const UTP_RTO_FIRST: Duration = Duration::from_secs(1);

/// Least time for an acknowledgement (29.6).
pub const UTP_RTO_MIN: Duration = Duration::from_millis(500);

/// Most time for an acknowledgement, however often it was doubled (29.7).
pub const UTP_RTO_MAX: Duration = Duration::from_secs(60);

/// Time-outs in a row after which the peer is gone (29.7: libutp).
pub const UTP_TIMEOUTS_MAX: u8 = 4;

/// Acknowledgements of the same packet, or packets acknowledged beyond one, after which the one
/// that is missing is lost (29.6).
pub const UTP_DUPLICATES: u8 = 3;

/// How far behind the last acknowledgement one may be and still count, in packets (29.10).
pub const UTP_ACK_BEHIND: i32 = 3;

/// How far from the expected packet one may be and still be read, in packets (29.10): a full
/// window of the smallest packets that libtorrent sends.
pub const UTP_SEQ_SPAN: i32 = 2_048;

/// The delay in queues that a sender aims at (29.6).
pub const UTP_TARGET_DELAY: Duration = Duration::from_millis(100);

/// The longest delay in queues that is believed (29.10).
pub const UTP_DELAY_MAX: Duration = Duration::from_secs(10);

/// By how many bytes a window grows in a round trip without delay, at most (29.11).
pub const UTP_GAIN: u32 = 3_000;

/// A window is cut once in so long, at most (29.11).
pub const UTP_CUT_EVERY: Duration = Duration::from_millis(100);

/// Packets in order that are acknowledged together.
pub const UTP_ACK_EVERY: u8 = 2;

/// Longest wait for a second one (29.11).
pub const UTP_ACK_DELAY: Duration = Duration::from_millis(25);

/// First packets of a stream that are acknowledged one by one: the peer's window is small then.
pub const UTP_QUICK_ACKS: u8 = 16;

/// Streams of one endpoint, those included that are only being closed.
pub const UTP_STREAMS_MAX: usize = 1 << 14;

/// Packets a second that an endpoint sends, acknowledgements included: of a home, and of a server.
pub const UTP_RATE_HOME: u32 = 1_000;
/// See [`UTP_RATE_HOME`].
pub const UTP_RATE_SERVER: u32 = 20_000;

/// Most packets of uTP a second that can be asked for.
pub const UTP_RATE_MAX: u32 = 1_000_000;

const _: () = {
    // A packet in order always finds a slot beside one that is early.
    assert!(UTP_SLOTS_FIRST >= 2 && UTP_SLOTS_FIRST <= UTP_SLOTS_MAX);
    assert!(UTP_REORDER_FIRST <= UTP_REORDER_MAX && UTP_REORDER_MAX < UTP_SEQ_SPAN as usize);
    // Half the circle of numbers is far away, whatever is on its way.
    assert!(UTP_SEQ_SPAN < 1 << 14 && (UTP_FLIGHT_MAX as i32) < UTP_SEQ_SPAN);
    assert!(UTP_SEND_FIRST >= UTP_SEGMENT && UTP_SEND_FIRST <= UTP_SEND_MAX);
    assert!(UTP_RECEIVED_MAX <= DATAGRAM_LEN_MAX);
};
