//! What a peer says without being asked, at times of its own: a byte a second, storms, answers
//! that take a while. Each has an end, whatever the dialler does, so that no run grows without
//! bound.

use std::collections::VecDeque;

use estudely_core::{Duration, Instant};

use super::speech;

/// Between two bytes of one that drips.
const DRIP_EVERY: Duration = Duration::from_secs(1);
/// Between two bursts of a storm.
const STORM_EVERY: Duration = Duration::from_millis(100);
/// Bursts of a storm: more than makes a fetcher leave (H27).
const STORM_BURSTS: u32 = 32;
/// Messages in a burst; requests beyond 16 in all make a fetcher leave (M10).
const STORM_MESSAGES: usize = 32;
/// Bytes of one of the long messages that a storm may be made of, and how many make a burst: 6 MiB
/// skipped make a fetcher leave (H27).
const BULK_LEN: usize = 64 * 1024;
const BULK_MESSAGES: usize = 4;
/// How long one that answers one request at a time takes for it.
pub(super) const SERVICE: Duration = Duration::from_millis(50);

/// What a storm is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storm {
    /// Requests for metadata, under the dialler's id (M10).
    Requests {
        /// That id.
        id: u8,
    },
    /// Extension messages under an id that was never announced (M12).
    Unannounced,
    /// Long messages of an unknown kind (H27).
    Bulk,
}

/// What is still to be said, and when.
#[derive(Debug, Default)]
pub(super) struct Timed {
    /// What drips out, and when the next byte does.
    drip: Option<(Instant, VecDeque<u8>)>,
    /// When the next burst is due, and how many are left.
    storm: Option<(Storm, Instant, u32)>,
    /// The answer that is being prepared: the piece, and when it is ready.
    pub(super) answer: Option<(Instant, i64)>,
}

impl Timed {
    /// When the next of these is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let drip = self.drip.as_ref().map(|(at, _)| *at);
        let storm = self.storm.map(|(_, at, _)| at);
        let answer = self.answer.map(|(at, _)| at);
        [drip, storm, answer].into_iter().flatten().min()
    }

    /// Lets these bytes drip out after those that wait already, instead of saying them.
    pub(super) fn drip(&mut self, now: Instant, bytes: &[u8]) {
        if !bytes.is_empty() {
            let (_, waiting) = self.drip.get_or_insert((now + DRIP_EVERY, VecDeque::new()));
            waiting.extend(bytes);
        }
    }

    /// Begins a storm with its first burst, unless one has begun.
    pub(super) fn begin(&mut self, now: Instant, storm: Storm, out: &mut Vec<u8>) {
        if self.storm.is_none() {
            self.storm = Some((storm, now, STORM_BURSTS));
            self.rain(now, out);
        }
    }

    /// Appends what is due of drips and storms.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) {
        if let Some((at, bytes)) = &mut self.drip
            && now >= *at
        {
            out.extend(bytes.pop_front());
            *at = now + DRIP_EVERY;
            self.drip.take_if(|(_, bytes)| bytes.is_empty());
        }
        self.rain(now, out);
    }

    /// The answer that is ready.
    pub(super) fn ready(&mut self, now: Instant) -> Option<i64> {
        self.answer.take_if(|(at, _)| now >= *at).map(|(_, piece)| piece)
    }

    fn rain(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Some((storm, at, left)) = &mut self.storm else { return };
        if now < *at || *left == 0 {
            return;
        }
        *left -= 1;
        // A storm that is over stays: there is no second one.
        let over = *left == 0;
        *at = if over { Instant::from_micros(u64::MAX) } else { now + STORM_EVERY };
        match *storm {
            Storm::Requests { id } => {
                for _ in 0..STORM_MESSAGES {
                    speech::extended(out, id, &[speech::REQUEST]);
                }
            }
            Storm::Unannounced => {
                for _ in 0..STORM_MESSAGES {
                    speech::extended(out, 200, &[b"d1:ai1ee"]);
                }
            }
            Storm::Bulk => {
                for _ in 0..BULK_MESSAGES {
                    speech::framed(out, |out| out.resize(out.len() + BULK_LEN, 0x2a));
                }
            }
        }
    }
}
