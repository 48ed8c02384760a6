//! An exchange behind message stream encryption (2.9): what arrives is deciphered before it is read,
//! what is said is enciphered before it is written, and nothing else differs.

use std::ops::ControlFlow;

use super::{Exchange, Flow, fail};
use crate::base::rng::{Rng, Seed};
use crate::base::time::Instant;
use crate::peer::mse::{Encryption, Filter};

/// How many bytes are deciphered at once, on the stack.
const OPENED_LEN: usize = 4 * 1024;

impl Exchange {
    /// Encrypts the stream. To be called before it is connected; `seed`, which may be that of the
    /// exchange, makes the key pair and the paddings.
    #[must_use]
    pub fn with_encryption(self, encryption: Encryption, seed: Seed) -> Self {
        let rng = Rng::new(seed).fork("mse");
        let filter = Filter::new(self.hash, encryption, self.opening(), rng);
        Self { filter: Some(Box::new(filter)), ..self }
    }

    /// Reads all of `input` as it came from the stream, or as far as the conversation goes.
    pub(super) fn read_stream(&mut self, now: Instant, input: &[u8], out: &mut Vec<u8>) -> Flow {
        // It is put aside so that the rest of the exchange can be used beside it.
        let Some(mut filter) = self.filter.take() else { return self.read(now, input, out) };
        let flow = self.read_sealed(now, &mut filter, input, out);
        self.filter = Some(filter);
        flow
    }

    /// Appends what `say` says to the peer.
    pub(super) fn say_sealed(
        &mut self,
        out: &mut Vec<u8>,
        say: impl FnOnce(&mut Self, &mut Vec<u8>),
    ) {
        let start = out.len();
        say(self, out);
        if let Some(filter) = &mut self.filter {
            filter.seal(&mut out[start..]);
        }
    }

    fn read_sealed(
        &mut self,
        now: Instant,
        filter: &mut Filter,
        mut input: &[u8],
        out: &mut Vec<u8>,
    ) -> Flow {
        if !filter.is_done() {
            input = match filter.receive(input, out) {
                Ok(payload) => payload,
                Err(fault) => return fail(fault),
            };
            if !filter.is_done() {
                return Flow::Continue(());
            }
            self.on_keys(now);
        }
        if filter.is_plaintext() {
            return self.read(now, input, out);
        }
        let mut opened = [0; OPENED_LEN];
        for part in input.chunks(OPENED_LEN) {
            let opened = &mut opened[..part.len()];
            filter.open(part, opened);
            let start = out.len();
            let flow = self.read(now, opened, out);
            filter.seal(&mut out[start..]);
            flow?;
        }
        ControlFlow::Continue(())
    }
}
