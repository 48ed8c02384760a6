//! Sequence numbers of packets: 16 bits that wrap.

/// The number of a packet. Packets are numbered, not bytes (29.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u16);

impl Seq {
    /// The number of the packet `n` after this one.
    #[must_use]
    pub const fn plus(self, n: u16) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// The number of the packet `n` before this one.
    #[must_use]
    pub const fn minus(self, n: u16) -> Self {
        Self(self.0.wrapping_sub(n))
    }

    /// How many packets this one is after `other`; negative if it is before it. Numbers that are
    /// half the circle apart count as before.
    pub const fn after(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i16 as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_across_the_wrap() {
        for (a, b, distance) in [
            (5, 5, 0),
            (6, 5, 1),
            (5, 6, -1),
            (0, u16::MAX, 1),
            (u16::MAX, 0, -1),
            (100, 65_500, 136),
            (0x8000, 0, -0x8000),
            (0x7fff, 0, 0x7fff),
        ] {
            assert_eq!(Seq(a).after(Seq(b)), distance, "{a} after {b}");
            assert_eq!(Seq(b).plus(distance as i16 as u16), Seq(a));
            assert_eq!(Seq(a).minus(distance as i16 as u16), Seq(b));
        }
    }
}
