//! The keyspace in equal regions, so that a flood of invented ids fills its own and no other (H17).

use crate::base::id::Id;

/// Bits of the region number.
const REGION_BITS: u32 = 12;
/// Regions of the keyspace.
pub(crate) const REGIONS: usize = 1 << REGION_BITS;

/// The region in which a point lies. Regions whose numbers differ by less in XOR are nearer.
pub(crate) fn region_of(id: Id) -> usize {
    usize::from(u16::from_be_bytes([id.0[0], id.0[1]]) >> (16 - REGION_BITS))
}
