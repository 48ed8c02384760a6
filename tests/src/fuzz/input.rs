//! Takes an input apart: numbers, slices and choices from its front, zeros when it is used up; and
//! a stream into parts.

/// What is left of an input.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let have = self.0.len().min(N);
        let (front, rest) = self.0.split_at(have);
        out[..have].copy_from_slice(front);
        self.0 = rest;
        out
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    /// At most `len` bytes, as they stand.
    pub(super) fn slice(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(self.0.len().min(len));
        self.0 = rest;
        front
    }
}

/// Parts whose lengths repeat `lengths`.
pub(super) fn split<'a>(
    mut bytes: &'a [u8],
    lengths: &'a [usize],
) -> impl Iterator<Item = &'a [u8]> {
    lengths.iter().cycle().map_while(move |length| {
        let (part, rest) = bytes.split_at(bytes.len().min(*length));
        bytes = rest;
        (!part.is_empty()).then_some(part)
    })
}
