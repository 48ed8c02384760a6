//! Every cap of the core as a named constant, its source beside it, and how caps relate.
//!
//! A cap that belongs to one module only is still written here, so that one page answers the
//! question what a stranger can make this program spend. Items cited as H23 or 9.4 are those of
//! the catalogue, `core/PROTOCOL.md`.

mod utp;

pub use self::utp::*;

use crate::base::time::Duration;

/// Bytes in a metadata piece; only the last one is shorter (BEP 9).
pub const PIECE_LEN: usize = 16 * 1024;

/// The smallest metadata size that is believed, in bytes: `d4:name0:e` has that many (H23).
pub const METADATA_MIN: usize = 10;

/// The largest metadata size that is fetched, in bytes (9.5, H23): torrents of 26 MiB, of 166 067
/// files, exist.
pub const METADATA_MAX: usize = 32 * 1024 * 1024;

/// The most pieces that metadata can have (BEP 9).
pub const PIECES_MAX: usize = METADATA_MAX.div_ceil(PIECE_LEN);

/// The largest peer-wire frame, in bytes after its length prefix (3.4, H28): a bitfield of 32
/// million pieces.
pub const FRAME_MAX: u32 = 4 * 1024 * 1024;

/// The largest payload of a metadata message, in bytes after the extension id (9.4, H28).
pub const EXTENDED_MAX: usize = 17 * 1024;

/// The largest payload of an extension handshake, in bytes (H28).
pub const EXTENDED_HANDSHAKE_MAX: usize = 64 * 1024;

/// How much of an extension handshake is kept and read, in bytes; the rest is skipped. What matters
/// stands at its front, because keys are sorted, but clients may name 150 extensions or put 3 KB
/// before them. Memory grows with what has come, in steps of [`EXTENDED_HANDSHAKE_STEP`] (H28).
pub const EXTENDED_HANDSHAKE_FRONT: usize = 16 * 1024;

/// By how much the room for an extension handshake that comes in parts grows, in bytes (H28).
pub const EXTENDED_HANDSHAKE_STEP: usize = 2 * 1024;

/// The largest dictionary at the front of a metadata message, in bytes: what is left of the
/// largest message beside a full piece.
pub const METADATA_HEAD_MAX: usize = EXTENDED_MAX - PIECE_LEN;

/// How deep an extension handshake may nest (B.7).
pub const EXTENDED_HANDSHAKE_DEPTH: usize = 10;

/// Tokens in an extension handshake (B.7): one for each four bytes that are read of it.
pub const EXTENDED_HANDSHAKE_TOKENS: u32 = (EXTENDED_HANDSHAKE_FRONT / 4) as u32;

/// How deep the dictionary of a metadata message may nest (B.7).
pub const METADATA_HEAD_DEPTH: usize = 4;

/// Tokens in the dictionary of a metadata message (B.7).
pub const METADATA_HEAD_TOKENS: u32 = 32;

/// Time to connect. SYNs leave after 0, 1, 3 and 7 s (RFC 6298 back-off from 1 s): the fourth
/// still gets a second for its answer, and the fifth would leave only after 15 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// The longest padding of message stream encryption, in bytes (2.2, 2.7).
pub const MSE_PAD_MAX: usize = 512;

/// Where in a peer's answer to our key its verification constant ends at the latest, in bytes from
/// the start of the stream (2.6): a key of 96, the longest padding, and the 8 of the constant.
pub const MSE_VC_END_MAX: usize = 96 + MSE_PAD_MAX + 8;

/// Time from connected to the peer's complete 68-byte handshake, an exchange of keys before it
/// included (H26).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time from there to a usable extension handshake (H26).
pub const EXTENSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer whose extension handshake names no id or no size may take to name them in
/// another one, or to serve the first piece; within [`EXTENSION_TIMEOUT`] (M1, M2).
pub const OFFER_PATIENCE: Duration = Duration::from_secs(5);

/// Pieces asked for in one write (9.6): transmission keeps 64 requests and rejects the rest.
pub const REQUESTS_AT_ONCE: u16 = 64;

/// Pieces refused by a peer that serves others are asked for again after so long; twice as long
/// after each round without a piece (M9).
pub const REJECT_PAUSE: Duration = Duration::from_millis(500);

/// Rounds of requests in a row without a piece after which a peer that rejects is left (M9).
pub const BARREN_ROUNDS_MAX: u8 = 3;

/// Silence after pieces that makes the rest be asked for once more, at least: four times the
/// longest wait for a piece so far (9.6).
pub const PIECE_PATIENCE_MIN: Duration = Duration::from_millis(400);

/// And at most (9.6).
pub const PIECE_PATIENCE_MAX: Duration = Duration::from_secs(5);

/// Silence after the first requests that makes one of them be sent once more (9.6).
pub const FIRST_PIECE_PATIENCE: Duration = Duration::from_secs(5);

/// Clients of which is remembered how many requests at once they serve (9.6); beyond it the one
/// noted first is forgotten.
pub const CLIENTS_MAX: usize = 64;

/// Exchanges in a row in which a client served as much as it is asked for at once, after which it
/// is asked for twice as much (9.6).
pub const CLIENT_GROWS_AFTER: u8 = 16;

/// Time from one new piece to the next, the first counted from the offer (H25).
pub const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole exchange, connecting included, before a size is accepted (H25).
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// An accepted size extends [`EXCHANGE_TIMEOUT`] by a second for so many bytes (H25, H26).
pub const EXCHANGE_RATE: u64 = 32 * 1024;

/// The lowest throughput that is put up with once data is due, in bytes per second (H26).
pub const RATE_MIN: u64 = 1024;

/// An offer is to be delivered within so long, whatever its size: above 1 MiB the lowest throughput
/// rises with it (H26).
pub const DELIVERY_TIME: Duration = Duration::from_secs(1_024);

/// How long a peer that offered something large may take before its throughput counts (H26).
pub const DELIVERY_GRACE: Duration = Duration::from_secs(30);

/// Extension messages nobody asked for that one connection may bring at once (H27).
pub const UNWANTED_AT_ONCE: u32 = 256;

/// And so many more for each second that the exchange takes (H27).
pub const UNWANTED_PER_SECOND: u32 = 16;

/// Bytes of messages nobody asked for that one connection may bring at once, length prefixes
/// included (H27): the bitfield of a huge torrent, and as much again.
pub const SKIPPED_AT_ONCE: u32 = 6 * 1024 * 1024;

/// And so many more for each second that the exchange takes (H27).
pub const SKIPPED_PER_SECOND: u32 = 64 * 1024;

/// Metadata requests to us that one connection gets rejects for (M10).
pub const REQUESTS_MAX: u32 = 16;

/// Repeated, unrequested or impossible pieces and rejects that one connection may bring (M8).
pub const STRAYS_MAX: u32 = 8;

/// How deep an info dictionary may nest (B.7, H38).
pub const INFO_DEPTH: usize = 100;

/// Tokens in an info dictionary (B.7, H2): one for each four bytes of the largest, where a file of
/// a torrent has about ten in 100 bytes.
pub const INFO_TOKENS: u32 = (METADATA_MAX / 4) as u32;

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

/// The smallest payload piece length of a v2 torrent, 16 KiB, as a power of two (52.1).
pub const V2_PIECE_LENGTH_LOG_MIN: u32 = 14;

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
    assert!(EXTENDED_HANDSHAKE_FRONT >= METADATA_HEAD_MAX);
    // One legal frame never exceeds what may be skipped.
    assert!(FRAME_MAX < SKIPPED_AT_ONCE);
    // What is waited for within a phase fits into it.
    assert!(OFFER_PATIENCE.as_millis() < EXTENSION_TIMEOUT.as_millis());
    assert!(PIECE_PATIENCE_MAX.as_millis() < PIECE_TIMEOUT.as_millis());
    assert!(FIRST_PIECE_PATIENCE.as_millis() < PIECE_TIMEOUT.as_millis());
    assert!(REQUESTS_AT_ONCE as usize <= PIECES_MAX);
    // A full piece in time is at least the lowest throughput, so that needs no clock of its own for
    // what is small.
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

/// Most bytes of unfinished metadata that a run may be allowed to hold, and those of a home and a
/// server, in MiB: four fifths of it within connections, the rest between them (H24).
pub const UNFINISHED_MIB_MAX: u32 = 64 << 10;
/// See [`UNFINISHED_MIB_MAX`].
pub const UNFINISHED_MIB_HOME: u32 = 24;
/// See [`UNFINISHED_MIB_MAX`].
pub const UNFINISHED_MIB_SERVER: u32 = 320;

/// Most bytes of metadata and names in rows waiting for a sink that a run may be allowed, and those
/// of a home and a server, in MiB. From a third of it on nothing new begins; what connections that
/// were open then bring beyond it is let go, and fetched again once rows are taken.
pub const ROWS_MIB_MAX: u32 = 64 << 10;
/// See [`ROWS_MIB_MAX`].
pub const ROWS_MIB_HOME: u32 = 16;
/// See [`ROWS_MIB_MAX`].
pub const ROWS_MIB_SERVER: u32 = 192;

// The DHT: messages

/// The shortest datagram worth reading, in bytes (H5).
pub const DATAGRAM_LEN_MIN: usize = 20;

/// The longest datagram read, in bytes: the receive buffer that BEP 32 calls for (32.3, H5).
pub const DATAGRAM_LEN_MAX: usize = 2048;

/// How deep lists and dictionaries may nest in a datagram (B.7).
pub const KRPC_DEPTH_MAX: usize = 10;

/// How many bencode tokens a datagram may hold, ends included (B.7).
pub const KRPC_TOKENS_MAX: u32 = 500;

/// The longest transaction id of a query that is read, in bytes: it would be echoed (H8).
pub const TRANSACTION_LEN_MAX: usize = 32;

/// The longest token kept from a reply, in bytes; a longer one counts as absent (5.7).
pub const TOKEN_LEN_MAX: usize = 128;

/// The longest magnet link that is read, in bytes. Links carry dozens of trackers, rarely over 4
/// KiB; some of hundreds of web seeds have 20.
pub const MAGNET_LEN_MAX: usize = 64 * 1024;

/// How many peers of a magnet link are kept; further ones are dropped.
pub const MAGNET_PEERS_MAX: usize = 100;

// The DHT: what is sent

/// Datagrams an idle address may get at once: one sample, twenty `get_peers`, one more.
pub const ADDRESS_BURST: u64 = 22;

/// Most datagrams to one address in any 10 s; libtorrent ignores senders of more than 50.
pub const ADDRESS_PER_TEN_SECONDS: u64 = 40;

/// Cells of the per-address limiter: 8 bytes each, 2 MiB in all.
pub const ADDRESS_CELLS: usize = 1 << 18;

/// Remote endpoints remembered as "not new" in one generation of about a minute.
pub const FLOWS_REMEMBERED: usize = 1 << 20;

/// Most queries open at once on one socket.
pub const OPEN_MAX: usize = 16_384;

/// Most open queries that are not yet stalled: what may be on its way at once. Keeps a burst
/// inside the socket buffers of both ends.
pub const FLIGHT_MAX: usize = 2_048;

/// A query without an answer for so long no longer holds up others (5.13).
pub const STALL_AFTER: Duration = Duration::from_secs(1);

/// A query without an answer for so long has failed (5.13).
pub const EXPIRE_AFTER: Duration = Duration::from_secs(6);

/// The answer to a query that has failed is read until so long after it was sent (5.13).
pub const LATE_UNTIL: Duration = Duration::from_secs(15);

/// Most failed queries of one socket whose answers are still read, about 200 bytes each, beside
/// those open; beyond it the ones sent first are forgotten.
pub const LATE_MAX: usize = 8_192;

/// Most queries set aside in one family; then nothing new is sent until one of them is due.
pub const DELAYED_MAX: usize = 4_096;

/// Of so many queries, one is for the upkeep of the routing table if that has any.
pub const UPKEEP_TURNS: u8 = 32;

/// While both have work, the sweep gets so many queries for each one of a walk.
pub const SWEEP_TURNS: u8 = 3;

// The DHT: whom we know

/// Answering nodes remembered per full bucket (catalogue 5.10).
pub const REPLACEMENTS_MAX: usize = 8;

/// Depth at which splitting stops (catalogue 5.10): 2^50 nodes are not there to be found.
pub const BUCKETS_MAX: usize = 50;

/// A sign of life this recent makes a node good (BEP 5: 15 minutes).
pub const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// Queries in a row left unanswered that make a node bad: a ping and its one retry (BEP 5).
pub const BAD_AFTER: u8 = 2;

/// Queries in a row left unanswered after which a node is dropped even if nobody waits for its
/// place (catalogue 5.10).
pub const DROP_AFTER: u8 = 20;

/// A bucket unchanged for so long is refreshed (BEP 5: 15 minutes).
pub const REFRESH_AFTER: Duration = Duration::from_secs(15 * 60);

/// How long a ping asked for may stay unreported before it is asked for again.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// Queries in flight at once, stalled ones not counted (catalogue 5.13: libtorrent 5, Kademlia 3).
pub const ALPHA: usize = 4;

/// Contacts held, and so the most that one walk can ask (catalogue 5.13).
pub const WALK_CANDIDATES_MAX: usize = 100;

/// Contacts taken from one reply (catalogue H17).
pub const CONTACTS_PER_REPLY: usize = 8;

/// Contacts of one referrer found dead, none alive, after which it is no longer followed (H17).
pub const DEAD_REFERRALS_MAX: u8 = 3;

/// Of the eight nearest that end a walk, how many may be known from one referrer alone (H14).
pub const SOLE_REFERRALS_MAX: u8 = 4;

/// Walks at once in one family, about 5 KB each: most of them wait for nodes that will not answer.
pub const WALKS_MAX: usize = 1_024;

/// A walk whose nodes have all had their share of datagrams looks again after so long. Each second
/// an address may get two.
pub const WALK_BUSY_PAUSE: Duration = Duration::from_millis(250);

/// Most bootstrap addresses kept.
pub const BOOTSTRAPS_MAX: usize = 1_024;

/// First pause before silent bootstrap nodes are asked again; it doubles.
pub const BOOTSTRAP_RETRY_MIN: Duration = Duration::from_secs(2);

/// Longest pause before silent bootstrap nodes are asked again.
pub const BOOTSTRAP_RETRY_MAX: Duration = Duration::from_secs(300);

/// Contacts of bootstrap answers kept until somebody answered.
pub const HEARSAY_MAX: usize = 64;

/// Infohashes taken from one reply (H19); the specification's servers send at most 20.
pub const SAMPLES_PER_REPLY: usize = 64;

/// Peers taken from one reply (H21).
pub const VALUES_PER_REPLY: usize = 100;

/// Peers taken from what one connection told of others.
pub const FOUND_PEERS_MAX: usize = 50;

// The sweep

/// Most entries: at 4/3 slots each a bound of 128 MiB. Beyond it the oldest passes are forgotten,
/// and if that is not enough, newcomers are refused.
pub const NODE_MEMORY_MAX: usize = 12_000_000;

/// Most contacts waiting in one region: 1 M in all.
pub const REGION_WAITING_MAX: usize = 256;

/// Landmarks kept per region.
pub const REGION_LANDMARKS: usize = 8;

/// Longest sampling interval (51.1); also what a missing or unusable one counts as (51.5).
pub const INTERVAL_MAX: Duration = Duration::from_secs(21_600);

/// Shortest interval we keep whatever a node says (H20).
pub const INTERVAL_MIN: Duration = Duration::from_secs(300);

/// A node that does not sample is asked again after so long.
pub const UNSUPPORTED_REST: Duration = Duration::from_secs(3_600);

/// A node silent to samples only: perhaps two packets were lost, so a shorter rest.
pub const SILENT_REST: Duration = Duration::from_secs(900);

/// Silent contacts kept for the end of the pass; when full, their turn comes at once.
pub const SILENT_MAX: usize = 65_536;

/// Addresses never answered that the next pass asks again.
pub const UNANSWERED_MAX: usize = 65_536;

/// Passes in which such an address may stay silent before it is forgotten.
pub const UNANSWERED_PASSES: u8 = 5;

/// Nodes remembered for a visit when their interval ends; others are met again by walking.
pub const CALENDAR_MAX: usize = 1 << 20;

/// Nodes asked about one gap at most: the next one if the last was silent or named nobody to visit.
/// With every other node of no help, one gap in sixteen stays one until the next look.
pub const GAP_ASKED_MAX: u8 = 4;

/// Queries into gaps on their way at once.
pub const GAPS_OPEN_MAX: usize = 64;

/// Gaps that may be asked about before anybody answered; each answer allows one more, so that no
/// lie about the density makes us ask for ever.
pub const GAPS_FREE: u32 = 64;

/// After so long the sweep looks again into neighbourhoods that it has no reason to visit: nodes
/// come and go.
pub const COVERAGE_REST: Duration = Duration::from_secs(1_800);

/// Cells of the referrer score; strangers that share one share its score.
pub const REFERRER_CELLS: usize = 1 << 16;

/// Dead contacts after which a referrer that named no live one is not followed (H17).
pub const REFERRER_DEAD_MAX: u8 = 3;

/// Pause after a pass of the sweep that met nobody new; it doubles.
pub const SWEEP_PAUSE_MIN: Duration = Duration::from_secs(2);

/// Longest pause between passes.
pub const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(300);

// What a run may be told

/// Most peers of an infohash that can be asked for (H21).
pub const PEERS_PER_INFOHASH_MAX: u32 = 200;

/// Most queries a second that can be asked for.
pub const RATE_MAX: u32 = 1_000_000;

/// Most new remote endpoints a minute that can be asked for.
pub const NEW_FLOWS_A_MINUTE_MAX: u32 = 100_000_000;

/// Most connections that can be asked for.
pub const CONNECTIONS_MAX: u32 = 1_000_000;

// From infohash to row

/// Infohashes remembered: 11 to 16 bytes each. Beyond it new ones are dropped and counted.
pub const KNOWN_MAX: usize = 1 << 26;

/// Infohashes waiting for a job. The sweep stops at [`PENDING_ENOUGH`]; what answers to queries
/// already sent bring on top fits as well.
pub const PENDING_MAX: usize = 1 << 16;

/// Waiting infohashes at which the sweep asks for no more; fewer where few connections are
/// allowed, since what cannot be fetched soon had better be found later.
pub const PENDING_ENOUGH: usize = 4_096;

/// Queries to wait for and dials to begin, in minutes at the limits given, that a job may have
/// before it: well within [`JOB_PATIENCE`].
pub const JOBS_BACKLOG_MINUTES: u32 = 2;

/// Walks at once for each query a second allowed.
pub const WALKS_PER_RATE: usize = 8;

/// Infohashes under way for each connection allowed.
pub const JOBS_PER_CONNECTION: usize = 8;

/// While both wait, one job in so many goes to a second chance.
pub const SECOND_CHANCE_TURNS: u8 = 4;

/// Infohashes waiting for a second chance.
pub const SECOND_CHANCES_MAX: usize = 1 << 18;

/// When a failed infohash gets another chance (4.3): after the last of these, never.
pub const SECOND_CHANCE_AFTER: [Duration; 3] =
    [Duration::from_secs(3_600), Duration::from_secs(4 * 3_600), Duration::from_secs(24 * 3_600)];

/// Most connections open at once for one infohash: the first, and those that overtake a slow one.
pub const RACES_MAX: u8 = 3;

/// Most peers of one infohash that a user may name; those beyond it are left out, and counted. They
/// fill no places of peers that were heard of (H21).
pub const ORDERS_PER_INFOHASH_MAX: usize = 1_000;

/// Infohashes asked for by name that failed, and peers tried for them, that a run remembers
/// together, in case that more peers are named for one: 8 MiB.
pub const AGAIN_MAX: usize = 1 << 18;

/// Most ports of one IP kept for one infohash (H21); not applied where private addresses are
/// admitted.
pub const PORTS_PER_IP_MAX: usize = 2;

/// Most peers of one /24 or /48 kept for one infohash; not applied where private addresses are
/// admitted. Whoever owns a net could otherwise fill every place with peers that must wait.
pub const PEERS_PER_PREFIX_MAX: usize = 3;

/// Peers kept beyond the places that one answer may fill, for when nobody else is left.
pub const RESERVE_MAX: usize = 32;

/// How often a dial that a peer cut short for no fault of its own is repeated. Dials that our own
/// system refused are repeated as long as it does.
pub const PUT_BACKS_MAX: u8 = 2;

/// Most connections to one peer for one infohash that it, or the crowd at its address, brought to
/// nothing, whatever carried them: its plan. What the network, we or others that wait were to blame
/// for is tried again beside these.
pub const PLAN_CONNECTS_MAX: u8 = 4;

/// Cells of the memory of who wanted encryption, by endpoint; endpoints that share one are taken
/// for each other, which costs a connection.
pub const HABIT_CELLS: usize = 1 << 16;

/// For so long a peer that was reached by encryption alone is asked that way first.
pub const HABIT_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// An infohash to which nothing has happened for so long, and for which no connection is open, is
/// settled as it stands.
pub const JOB_PATIENCE: Duration = Duration::from_secs(300);

/// When no node has answered for so long since the start, walks are given up.
pub const SEEDS_WITHIN: Duration = Duration::from_secs(30);

/// Queries in a row without an answer from anybody that make the network suspect.
pub const SUSPECT_UNHEARD: u32 = 16;

/// Nobody must have given a sign of life for so long before the network is suspect: a burst of
/// losses is shorter.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(3);

/// Suspicion that no probe has dispelled for so long is an outage: the time of one answer.
pub const OUTAGE_AFTER: Duration = EXPIRE_AFTER;

/// While the network is suspect, known nodes are probed this often.
pub const OUTAGE_PROBE_EVERY: Duration = Duration::from_secs(1);

/// So long an outage excuses failures; a crawl that waits longer would never settle anything.
pub const OUTAGE_HOLD: Duration = JOB_PATIENCE;

/// Peers after which a walk stops looking for more (4.4).
pub const WALK_PEERS_ENOUGH: usize = 10;

/// How often the node that gave the sample is asked before a walk must help.
pub const SOURCE_ASKS_MAX: u8 = 2;

/// Open connections per address.
pub const PER_ADDRESS_MAX: u8 = 2;

/// Addresses remembered as taking one connection at a time; then all are forgotten.
pub const SERIAL_ADDRESSES_MAX: usize = 1 << 16;

/// Dials a minute to one /24 (IPv4) or /48 (IPv6).
pub const PER_PREFIX_A_MINUTE: u64 = 30;

/// Cells of the prefix limiter; prefixes that share one share its allowance.
pub const PREFIX_CELLS: usize = 1 << 16;

/// Jobs looked at in one poll before giving others a turn.
pub const DIAL_SCAN_MAX: usize = 32;

/// After running out of descriptors or ports, no dial for so long; doubled each time.
pub const PRESSURE_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause of dialling under pressure.
pub const PRESSURE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Jobs whose peers are all over some limit are passed over a few at a time, with such a pause.
pub const SCAN_PAUSE: Duration = Duration::from_millis(5);

/// When every peer in sight is over a limit, look again after so long.
pub const BLOCKED_PAUSE: Duration = Duration::from_millis(100);

/// Nobody is overtaken sooner than this.
pub const OVERTAKE_MIN: Duration = Duration::from_secs(1);

/// Infohashes under way at once.
pub const JOBS_MAX: usize = 1 << 15;

/// Rows waiting for a sink before dialling stops.
pub const ROWS_MAX: usize = 256;

/// Rows taken by a sink that some output does not hold yet: beyond, none is given. More than fit
/// into what standard output lets wait (64 KiB, 40 bytes a row at least), whose pace this must not
/// set.
pub const ROWS_TAKEN_MAX: usize = 2_048;

// Shares: what is spent for what strangers name. The unit is a millisecond of one connection.

/// The logarithm to base 2 of the cells of each table of standing, nets and nodes, of 16 bytes:
/// each has three. Of 3 000 nodes of which half are in debt one in 1 000 shares all of its cells
/// with those; of 50 000, one in 20.
pub const STANDING_BITS: u32 = 18;

/// Most debt, in milliseconds: an hour. After ten halvings no fault is remembered.
pub const DEBT_MAX: i32 = 3_600_000;

/// All debts and credits are halved this often.
pub const DEBT_HALVED_EVERY: Duration = Duration::from_secs(600);

/// After so many halvings, six hours, one visit in vain is forgiven to each node: it may be another
/// one by now that stands in its cell.
pub const VISITS_FORGIVEN_AFTER: u64 = 36;

/// A debt beyond this is more than the odd failure, in milliseconds of both accounts together:
/// two dials to dead peers and a little. What a node named that owes as much does not keep the sweep
/// from looking on, and its walks ask when no others do.
pub const DEBT_DEEP: i64 = 75_000;

/// What a verified result earns, besides what was spent for it: as much as a failure or two cost.
pub const CREDIT: Duration = Duration::from_secs(30);

/// Most credit, so that merits of yesterday pay for no flood of today.
pub const CREDIT_MAX: Duration = Duration::from_secs(60);

/// What a dial costs besides its time: new flows are fewer than connections. At the limits of a
/// home 15 dials a second keep 200 connections busy.
pub const DIAL_COST: Duration = Duration::from_secs(8);

/// What a dial is charged when it begins, and again when it is slow.
pub const DIAL_RESERVE: Duration = CONNECT_TIMEOUT;

/// What a slow dial is charged on top until it has ended.
pub const SLOW_RESERVE: Duration = Duration::from_secs(30);

/// What a walk costs: dozens of queries.
pub const WALK_COST: Duration = Duration::from_secs(30);

/// What a job is charged while it is under way: so that sources take turns among jobs, and the last
/// places are for those that have none.
pub const JOB_RESERVE: Duration = Duration::from_secs(20);

/// Jobs looked at for one that makes room for another.
pub const DISPLACE_SCAN_MAX: usize = 64;

/// A job makes room when its source owes so much more than the other one, in milliseconds of both
/// accounts together: that two jobs change places and change back would need twice their reserve.
pub const DISPLACE_MARGIN: i64 = 4 * JOB_RESERVE.as_millis() as i64;

/// A job that has dialled so many peers in vain asks its second source if the first one is deep in
/// debt; without one it is given up until its second chance when another infohash waits whose
/// source owes much less.
pub const DIALS_BEFORE_GIVEN_UP: usize = 3;

/// When no job makes room, none is looked for again until so many datagrams or ends of connections
/// have come; twice as many each time until one does.
pub const DISPLACE_PAUSE: u8 = 8;
/// The most of them.
pub const DISPLACE_PAUSE_MAX: u8 = 64;

/// Of two nodes that named an infohash the second one is asked first if the first one owes so much
/// more, in milliseconds of both accounts together: what ten dials to dead peers cost.
pub const OTHER_SOURCE_MARGIN: i64 = 300_000;

/// Infohashes of one node that are looked at for another source when it is deep in debt.
pub const LANE_SCAN_MAX: usize = LEADS_OF_DEBTORS;

/// Peers that an infohash keeps when it loses its job.
pub const DISPLACED_PEERS_KEPT: usize = 4;

/// What a job costs that comes to nothing, whatever was tried.
pub const JOB_COST: Duration = Duration::from_secs(1);

/// A connection that has held its place for so long gives it up if others wait for one.
pub const TURN: Duration = Duration::from_secs(15);

/// Connections beyond their turn that are compared before one is recalled.
pub const RECALL_SCAN_MAX: usize = 64;

/// Turns that one attempt on a peer may have, each of which brought pieces: the largest metadata, a
/// few pieces at a time.
pub const TURNS_MAX: u8 = 250;

/// Infohashes of a sample taken at once (H19). The rest of it waits until one of these is verified.
pub const SAMPLES_AT_ONCE: usize = 20;

/// Nodes whose samples wait; two that fall into one place take it from each other.
pub const SAMPLES_KEPT: usize = 1 << 10;

/// Infohashes of one node that wait for a job and count towards [`PENDING_ENOUGH`]: one that names
/// many must not keep others from being heard.
pub const LEADS_COUNTED: u32 = 3;

/// Infohashes of one node that wait for a job while it is deep in debt: further ones are not taken.
pub const LEADS_OF_DEBTORS: usize = 64;

// A run from its beginning to its end

/// How long after a round of resolving the names of bootstrap nodes are asked again, if none of
/// those nodes has answered: a resolver that is just starting needs seconds.
pub const RESOLVE_AGAIN: Duration = Duration::from_secs(10);

/// The longest such pause, for a name that never led anywhere while one family answers and the other
/// is silent.
pub const RESOLVE_AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// How long contacts of an earlier run have to answer before public routers are asked: routers are
/// few and everybody asks them, and a live contact answers within a second.
pub const ROUTERS_AFTER: Duration = Duration::from_secs(5);

/// The same when some contact did answer, and then every node fell silent: an outage of minutes
/// must not send every crawler to the routers.
pub const ROUTERS_AFTER_QUIET: Duration = Duration::from_secs(300);

/// Without an answer for so long, the network is as good as absent: bootstrap nodes were asked five
/// times by then, at 0, 2, 4, 8 and 16 s.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long before the overall timeout the shutdown begins, so that the end falls on it; at most
/// half of that timeout.
pub const SHUTDOWN_LEAD: Duration = Duration::from_millis(100);

/// Most time for connections that were cut off to hand in their outcomes: a first signal ends a run
/// within 2 s.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(1500);

/// Most time for writing the state whole when the end is promised for a moment.
pub const SAVE_IN_A_HURRY: Duration = Duration::from_millis(300);

/// The same when nothing presses.
pub const SAVE_AT_THE_END: Duration = Duration::from_secs(10);

// The saved state

/// Infohashes settled for good that are in no output as verified (unreadable metadata, the last
/// chance gone): the latest so many are remembered across runs, 20 bytes each.
pub const SETTLED_MAX: usize = 1 << 18;

/// Peers saved with an infohash under way: three times what is kept by default.
pub const SAVED_PEERS_MAX: usize = 64;

/// Infohashes under way that are saved: waiting, being worked on, written but not taken yet, and
/// as many again held for the next run.
pub const PENDING_SAVED_MAX: usize = 2 * (PENDING_MAX + JOBS_MAX);

/// Failed infohashes that are taken up: waiting for their next chance, that of an earlier run or of
/// this one, and having it.
pub const FAILED_SAVED_MAX: usize = 2 * SECOND_CHANCES_MAX + JOBS_MAX;

/// Contacts of routing tables that are saved: two families, each about 1 000.
pub const TABLE_SAVED_MAX: usize = 4_096;

/// Rests that are read: two full calendars, and as many records of nodes that were met again.
pub const RESTS_SAVED_MAX: usize = 4 * CALENDAR_MAX;

/// A record of a snapshot is ended once it has so many bytes: a page, since damage to one bit costs
/// the whole record.
pub const STATE_CHUNK_FILL: usize = 4 * 1024;

/// The longest record that is read, in bytes, without its header and sum.
pub const STATE_CHUNK_MAX: usize = 64 * 1024;

/// Bytes of records of unknown kinds that are kept for a version that knows them, with what each
/// costs besides.
pub const STATE_UNKNOWN_MAX: usize = 1 << 20;

/// The longest state that is worth reading, in bytes: about twice what a run at all its limits
/// with twenty peers per infohash writes.
pub const STATE_LEN_MAX: usize = 512 << 20;

/// Events kept for the journal between two drains; a loop that drains each turn never meets it.
/// Beyond it whole records are dropped, so what was sampled and what it gave go together.
pub const JOURNAL_NOTES_MAX: usize = 1 << 16;

/// Infohashes and peers that belong to these events, each.
pub const JOURNAL_ITEMS_MAX: usize = 1 << 17;

/// Nodes of the saved calendar that are asked the way into the DHT if no saved contact answers.
pub const WARM_RESERVE_MAX: usize = 1_024;

/// Of these so many are asked at once where no table was saved.
pub const WARM_FIRST: usize = 16;

const _: () = {
    // What is computed of a setting fits: both halves of the new flows of some minutes, and
    // attempts in a byte.
    assert!(NEW_FLOWS_A_MINUTE_MAX <= u32::MAX / JOBS_BACKLOG_MINUTES);
    assert!(PEERS_PER_INFOHASH_MAX <= u8::MAX as u32);
    // Counts of samples and peers are one byte, and an item more never makes a chunk too long.
    assert!(SAMPLES_PER_REPLY <= u8::MAX as usize && SAVED_PEERS_MAX <= u8::MAX as usize);
    assert!(STATE_CHUNK_FILL + 80 + SAVED_PEERS_MAX * 19 <= STATE_CHUNK_MAX);
    assert!(SAMPLES_PER_REPLY * 20 + 128 <= STATE_CHUNK_MAX);
    // The two waits of an end that is promised within 2 s.
    assert!(SHUTDOWN_GRACE.as_millis() + SAVE_IN_A_HURRY.as_millis() < 2_000);
    // Routers, and names once more, have their turn before a run fails.
    assert!(ROUTERS_AFTER.as_secs() + RESOLVE_AGAIN.as_secs() < ANSWER_WITHIN.as_secs());
    // A state at every limit can be read again.
    assert!(2 * CALENDAR_MAX <= RESTS_SAVED_MAX);
    assert!(2 * JOBS_MAX + ROWS_MAX + ROWS_TAKEN_MAX <= PENDING_SAVED_MAX);
    assert!(
        2 * CALENDAR_MAX * 44
            + PENDING_SAVED_MAX * (67 + SAVED_PEERS_MAX * 19)
            + FAILED_SAVED_MAX * 28
            + STATE_UNKNOWN_MAX
            + SETTLED_MAX * 20
            < STATE_LEN_MAX
    );
};
