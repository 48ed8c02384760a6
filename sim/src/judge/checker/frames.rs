//! The checker's own cutting of a peer-wire stream into its 68-byte handshake and its frames.
//! Keeps at most the front of one message, whatever lengths are announced.

/// Bytes of the base handshake (BEP 3).
pub(super) const HANDSHAKE: usize = 68;
/// Kept of the payload of an extension handshake: what the crawler reads of it.
pub(super) const EXTENSIONS_FRONT: usize = 16 * 1024;
/// Kept of the payload of any other extension message: the largest dictionary in front of data.
const MESSAGE_FRONT: usize = 1024;

/// A part of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// The base handshake.
    Handshake(&'a [u8; HANDSHAKE]),
    /// The front of an extension message: its id, the front of its payload, and the whole
    /// payload's length.
    Front(u8, &'a [u8], usize),
    /// An extension message is here to its last byte: its id, front and payload length.
    Whole(u8, &'a [u8], usize),
    /// Another message, or a frame that is none: its id, none for a keep-alive.
    Other(Option<u8>),
}

/// Where in the stream we are.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    shaken: bool,
    /// Handshake, or length, ids and front of a frame.
    kept: Vec<u8>,
    /// Bytes of the frame after what is kept of it.
    skip: usize,
}

impl Frames {
    /// Reads `input` and says what becomes clear, in order.
    pub(super) fn read(&mut self, mut input: &[u8], mut on: impl FnMut(Part<'_>)) {
        while !input.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(input.len());
                self.skip -= skipped;
                input = &input[skipped..];
                if self.skip == 0 {
                    self.end(&mut on);
                }
                continue;
            }
            let want = self.want();
            let taken = (want - self.kept.len()).min(input.len());
            self.kept.extend_from_slice(&input[..taken]);
            input = &input[taken..];
            if self.kept.len() == want {
                self.step(&mut on);
            }
        }
    }

    /// How long `kept` becomes before something is decided.
    fn want(&self) -> usize {
        match (self.shaken, self.kept.len()) {
            (false, _) => HANDSHAKE,
            (true, 0..4) => 4,
            (true, 4) => 5,
            (true, 5) => 6,
            (true, _) => 6 + self.front(),
        }
    }

    fn length(&self) -> usize {
        let prefix = self.kept.first_chunk().copied().unwrap_or_default();
        u32::from_be_bytes(prefix) as usize
    }

    fn payload(&self) -> usize {
        self.length().saturating_sub(2)
    }

    fn front(&self) -> usize {
        let most = if self.kept.get(5) == Some(&0) { EXTENSIONS_FRONT } else { MESSAGE_FRONT };
        self.payload().min(most)
    }

    fn step(&mut self, on: &mut impl FnMut(Part<'_>)) {
        if !self.shaken {
            if let Some(handshake) = self.kept.first_chunk() {
                on(Part::Handshake(handshake));
            }
            self.shaken = true;
            return self.kept.clear();
        }
        match (self.kept.len(), self.length()) {
            (4, 0) => self.other(None, 0, on),
            (4, _) => {}
            (5, length) if self.kept[4] != 20 || length < 2 => {
                self.other(Some(self.kept[4]), length - 1, on);
            }
            (5, _) => {}
            (6, _) if self.front() > 0 => {}
            _ => {
                on(Part::Front(self.kept[5], &self.kept[6..], self.payload()));
                self.skip = self.payload() - self.front();
                if self.skip == 0 {
                    self.end(on);
                }
            }
        }
    }

    fn other(&mut self, id: Option<u8>, rest: usize, on: &mut impl FnMut(Part<'_>)) {
        on(Part::Other(id));
        self.kept.clear();
        self.skip = rest;
    }

    fn end(&mut self, on: &mut impl FnMut(Part<'_>)) {
        if self.kept.len() >= 6 {
            on(Part::Whole(self.kept[5], &self.kept[6..], self.payload()));
        }
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream() -> Vec<u8> {
        let mut bytes = vec![7; HANDSHAKE];
        bytes.extend(
            b"\0\0\0\0\0\0\0\x01\x02\0\0\0\x05\x04abcd\0\0\0\x04\x14\0xy\0\0\0\x02\x14\x03",
        );
        bytes.extend(2_000_u32.to_be_bytes());
        bytes.extend([20, 2]);
        bytes.extend([9; 1_998]);
        bytes
    }

    fn parts(bytes: &[u8], cuts: &[usize]) -> Vec<String> {
        let (mut frames, mut parts, mut at) = (Frames::default(), Vec::new(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            let end = at.max(cut % (bytes.len() + 1));
            frames.read(&bytes[at..end], |part| parts.push(format!("{part:?}")));
            at = end;
        }
        parts
    }

    #[test]
    fn a_stream_is_cut_where_its_lengths_say() {
        let parts = parts(&stream(), &[]);
        assert_eq!(parts.len(), 10);
        assert_eq!(parts[1..4], ["Other(None)", "Other(Some(2))", "Other(Some(4))"]);
        assert_eq!(parts[4], "Front(0, [120, 121], 2)");
        assert_eq!(parts[6], "Front(3, [], 0)");
        assert!(parts[9].starts_with("Whole(2, [9, 9") && parts[9].ends_with("], 1998)"));
    }

    proptest! {
        #[test]
        fn no_split_changes_the_parts(mut cuts in prop::collection::vec(any::<usize>(), 0..20)) {
            let bytes = stream();
            cuts.iter_mut().for_each(|cut| *cut %= bytes.len());
            cuts.sort_unstable();
            prop_assert_eq!(parts(&bytes, &cuts), parts(&bytes, &[]));
        }
    }
}
