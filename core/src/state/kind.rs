//! What a record holds. A kind with [`OPTIONAL`] set may be skipped by a version that does not know
//! it; a later version that must be understood has a higher major number instead.

/// Set in kinds that a version may come with without being of another major version.
pub(super) const OPTIONAL: u8 = 0x80;

/// What two clocks of the writer say from here on: wall time u64, the start of the machine 16
/// bytes, seconds since then u64.
pub(super) const CLOCK: u8 = OPTIONAL | 1;
/// When it was written, wall time u64, and the salt of every other record. Twice, at the beginning.
pub(super) const HEAD: u8 = 1;
/// A family: id, depth of its table, our address as others see it.
pub(super) const FAMILY: u8 = 2;
/// Contacts of the routing tables.
pub(super) const CONTACTS: u8 = 3;
/// Rests.
pub(super) const RESTS: u8 = 4;
/// Infohashes: under way in round 0, failed and waiting for another chance in later ones.
pub(super) const LEADS: u8 = 5;
/// Infohashes settled for good.
pub(super) const SETTLED: u8 = 6;
/// The end of the snapshot; empty.
pub(super) const END: u8 = 7;
/// Appended: wall time u64, a rest, a count u8 and the new infohashes of that answer.
pub(super) const ANSWER: u8 = 16;
/// Appended: an infohash that was asked for.
pub(super) const TAKEN: u8 = 17;
/// Appended: an infohash of which nothing needs to be remembered any more.
pub(super) const DROPPED: u8 = 18;
/// Appended: wall time u64 and an infohash that failed: hash, round u8, seconds u32.
pub(super) const RETRY: u8 = 19;
/// Appended: an infohash settled for good.
pub(super) const OVER: u8 = 20;
