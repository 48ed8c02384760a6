//! Every cap of the core as a named constant, its source beside it, and how caps relate.
//!
//! A cap that belongs to one module only is still written here, so that one page answers the
//! question what a stranger can make this program spend. Items cited as H23 or 9.4 are those of
//! the protocol catalogue.

use crate::time::Duration;

/// Bytes in a metadata piece; only the last one is shorter (BEP 9).
pub const PIECE_LEN: usize = 16 * 1024;

/// The smallest metadata size that is believed, in bytes: `d4:name0:e` has that many (H23).
pub const METADATA_MIN: usize = 10;

/// The largest metadata size that is fetched, in bytes (9.5, H23).
pub const METADATA_MAX: usize = 10 * 1024 * 1024;

/// The most pieces that metadata can have (BEP 9).
pub const PIECES_MAX: usize = METADATA_MAX.div_ceil(PIECE_LEN);

/// The largest peer-wire frame, in bytes after its length prefix (3.4, H28).
pub const FRAME_MAX: u32 = 1024 * 1024;

/// The largest payload of an extension message other than the handshake, in bytes after the
/// extension id (9.4, H28).
pub const EXTENDED_MAX: usize = 17 * 1024;

/// The largest payload of an extension handshake, in bytes (H28).
pub const EXTENDED_HANDSHAKE_MAX: usize = 64 * 1024;

/// The largest dictionary at the front of a metadata message, in bytes: what is left of the
/// largest message beside a full piece.
pub const METADATA_HEAD_MAX: usize = EXTENDED_MAX - PIECE_LEN;

/// How deep an extension handshake may nest (B.7).
pub const EXTENDED_HANDSHAKE_DEPTH: usize = 10;

/// Tokens in an extension handshake (B.7).
pub const EXTENDED_HANDSHAKE_TOKENS: u32 = 1_000;

/// How deep the dictionary of a metadata message may nest (B.7).
pub const METADATA_HEAD_DEPTH: usize = 4;

/// Tokens in the dictionary of a metadata message (B.7).
pub const METADATA_HEAD_TOKENS: u32 = 32;

/// Time to connect. SYNs leave after 0, 1, 3 and 7 s (RFC 6298 back-off from 1 s): the fourth
/// still gets a second for its answer, and the fifth would leave only after 15 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// Time from connected to the peer's complete 68-byte handshake (H26).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time from there to a usable extension handshake (H26).
pub const EXTENSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Time from one new piece to the next, the first counted from the offer (H25).
pub const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole exchange, connecting included, before a size is accepted (H25).
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// An accepted size extends [`EXCHANGE_TIMEOUT`] by a second for so many bytes (H25, H26).
pub const EXCHANGE_RATE: u64 = 32 * 1024;

/// The lowest throughput that is put up with once data is due, in bytes per second (H26).
pub const RATE_MIN: u64 = 1024;

/// Extension messages nobody asked for that one connection may bring (H27).
pub const UNWANTED_MAX: u32 = 64;

/// Bytes of messages nobody asked for that one connection may bring, length prefixes
/// included (H27).
pub const SKIPPED_MAX: u32 = 2 * 1024 * 1024;

/// Metadata requests to us that one connection gets rejects for (M10).
pub const REQUESTS_MAX: u32 = 16;

/// Repeated, unrequested or impossible pieces and rejects that one connection may bring (M8).
pub const STRAYS_MAX: u32 = 8;

/// How deep an info dictionary may nest (B.7, H38).
pub const INFO_DEPTH: usize = 100;

/// Tokens in an info dictionary (B.7, H2).
pub const INFO_TOKENS: u32 = 2_500_000;

/// Components kept of one file's path (H38).
pub const PATH_DEPTH: usize = INFO_DEPTH;

/// The largest sum of file lengths, in bytes (H39).
pub const TOTAL_MAX: u64 = (1 << 48) - 1;

/// The largest file that is not flagged, in bytes (H40).
pub const FILE_MAX: u64 = 17_592_186_028_032;

/// The largest payload piece length that is not flagged, in bytes (H40).
pub const PIECE_LENGTH_MAX: u64 = 536_854_528;

/// The most payload pieces that are not flagged (H40).
pub const PAYLOAD_PIECES_MAX: u64 = 2_097_152;

/// The smallest payload piece length of a v2 torrent, in bytes (BEP 52).
pub const V2_PIECE_LENGTH_MIN: u64 = 16 * 1024;

/// The longest name written to a terminal, in bytes (H33).
pub const TERMINAL_NAME_MAX: usize = 240;

/// The longest extension, dot excluded, that survives cutting a name for a terminal (H33).
pub const TERMINAL_EXTENSION_MAX: usize = 10;

const _: () = {
    assert!(METADATA_MIN < METADATA_MAX);
    // Piece indices, sizes and frame lengths are kept in 16 and 32 bits.
    assert!(PIECES_MAX <= u16::MAX as usize);
    assert!(METADATA_MAX < u32::MAX as usize);
    // A full piece with the largest head is a message of the largest size.
    assert!(METADATA_HEAD_MAX > 0 && METADATA_HEAD_MAX + PIECE_LEN == EXTENDED_MAX);
    assert!((EXTENDED_MAX as u64) < FRAME_MAX as u64);
    assert!((EXTENDED_HANDSHAKE_MAX as u64) < FRAME_MAX as u64);
    // One legal frame never exceeds what may be skipped.
    assert!(FRAME_MAX < SKIPPED_MAX);
    // A full piece in time is at least the lowest throughput, so that needs no clock of its own.
    assert!(PIECE_LEN as u64 >= RATE_MIN * PIECE_TIMEOUT.as_secs());
    // The absolute deadline leaves room for every phase before data flows.
    assert!(
        CONNECT_TIMEOUT.as_secs()
            + HANDSHAKE_TIMEOUT.as_secs()
            + EXTENSION_TIMEOUT.as_secs()
            + PIECE_TIMEOUT.as_secs()
            <= EXCHANGE_TIMEOUT.as_secs()
    );
    assert!(FILE_MAX <= TOTAL_MAX);
    assert!(PATH_DEPTH <= INFO_DEPTH);
    assert!(TERMINAL_EXTENSION_MAX + 1 < TERMINAL_NAME_MAX);
};

/// Most bytes of metadata that connections under way may hold together (H24): an adapter ends
/// whichever goes beyond it as [`crate::fault::PeerFault::Pressure`].
pub const ASSEMBLY_BYTES_MAX: usize = 256 << 20;
