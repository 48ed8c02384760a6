//! Rules 1, 2 and 17 of rows, and rule 5 of the peers that they name.

use std::collections::BTreeMap;

use estudely_core::{Instant, Row, Verdict};
use sha2::{Digest, Sha256};

use super::address::key;
use super::expected::GroundTruth;
use super::heard::{Heard, peer_key};
use super::saved::Kept;
use super::sets::Seen;
use crate::judge::rule::hex;
use crate::judge::rule::{Findings, MATCHED_REPLIES, METADATA_TRUE, ONE_ROW, TIME_MONOTONE};

/// When an infohash had which row.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    failed: Option<Instant>,
    verified: bool,
}

/// Rows given out so far.
#[derive(Debug, Default)]
pub(super) struct Rows {
    given: BTreeMap<u64, Given>,
    /// Connections that delivered and whose row has not come yet.
    delivered: Seen,
    /// When the crawler's clock said that the last row was settled.
    settled: Instant,
    /// Rows of this run: verified, broken, failed.
    pub(super) counts: [u64; 3],
}

impl Rows {
    /// A new crawler began that still knows what `kept` says.
    pub(super) fn on_started(&mut self, kept: Kept) {
        for given in self.given.values_mut() {
            given.failed = given.failed.filter(|at| kept.holds(*at));
        }
        self.settled = Instant::START;
        self.counts = [0; 3];
        self.delivered.clear();
    }

    /// A run is asked for this infohash: that it failed in an earlier one counts no longer.
    pub(super) fn on_requested(&mut self, hash: &[u8; 20]) {
        if let Some(given) = self.given.get_mut(&key(&[hash])) {
            given.failed = None;
        }
    }

    /// A connection ended with metadata.
    pub(super) fn on_delivered(&mut self, peer: u64) {
        self.delivered.insert(peer);
    }

    /// Whether an infohash was given out as verified.
    pub(super) fn is_verified(&self, hash: &[u8; 20]) -> bool {
        self.given.get(&key(&[hash])).is_some_and(|given| given.verified)
    }

    /// When it was given out as failed, if it was.
    pub(super) fn failed_at(&self, hash: &[u8; 20]) -> Option<Instant> {
        self.given.get(&key(&[hash]))?.failed
    }

    /// How many infohashes have rows.
    pub(super) fn len(&self) -> usize {
        self.given.len()
    }

    /// A row was given out; whether it says that the infohash was verified or is broken.
    pub(super) fn on_row(
        &mut self,
        found: &mut Findings,
        truth: &dyn GroundTruth,
        heard: &Heard,
        row: &Row,
    ) -> bool {
        let hash = row.infohash.0;
        found.check(row.found <= row.settled && self.settled <= row.settled, TIME_MONOTONE, || {
            format!(
                "{} was found at {:?} and settled at {:?}, the one before at {:?}",
                hex(&hash),
                row.found,
                row.settled,
                self.settled
            )
        });
        self.settled = self.settled.max(row.settled);
        let (kind, raw) = match &row.verdict {
            Verdict::Verified { metadata, .. } => (0, Some(metadata.raw())),
            Verdict::Broken { metadata, .. } => (1, Some(metadata.raw())),
            Verdict::Failed { .. } | Verdict::PeersOnly => (2, None),
        };
        self.counts[kind] += 1;
        self.check_once(found, &hash, kind == 0);
        if let Some(raw) = raw {
            check_metadata(found, truth, row, raw);
            let served = row
                .peers
                .first()
                .is_some_and(|peer| self.delivered.remove(&peer_key(&hash, *peer)));
            found.check(served, METADATA_TRUE, || {
                format!("nobody delivered {} that its row names first", hex(&hash))
            });
        }
        for peer in &row.peers {
            found.check(heard.peers.contains(&peer_key(&hash, *peer)), MATCHED_REPLIES, || {
                format!("{peer} is no peer that anybody named for {}", hex(&hash))
            });
        }
        raw.is_some()
    }

    fn check_once(&mut self, found: &mut Findings, hash: &[u8; 20], verified: bool) {
        let given = self.given.entry(key(&[hash])).or_default();
        let again = given.verified || (!verified && given.failed.is_some());
        if verified {
            given.verified = true;
        } else {
            given.failed = Some(found.now);
        }
        found.check(!again, ONE_ROW, || {
            format!(
                "{} is emitted again, as {}",
                hex(hash),
                if verified { "True" } else { "False" }
            )
        });
    }
}

fn check_metadata(found: &mut Findings, truth: &dyn GroundTruth, row: &Row, raw: &[u8]) {
    let hash = row.infohash.0;
    let sha1 = sha1_smol::Sha1::from(raw).digest().bytes();
    let is_true = sha1 == hash || Sha256::digest(raw)[..20] == hash;
    found.check(is_true, METADATA_TRUE, || {
        format!("{} has metadata that hashes to {}", hex(&hash), hex(&sha1))
    });
    let Some(fields) = truth.fields(&row.infohash) else {
        return found.fail(METADATA_TRUE, || format!("the world has no torrent {}", hex(&hash)));
    };
    match &row.verdict {
        Verdict::Verified { info, .. } => {
            let said = (&info.file_count, &info.total_bytes, &info.piece_length);
            let due = (&fields.file_count, &fields.total_bytes, &fields.piece_length);
            found.check(said == due, METADATA_TRUE, || {
                format!("{} has files, bytes and piece length {said:?}, not {due:?}", hex(&hash))
            });
            let name = crate::world::torrent::display(&info.name, None);
            found.check(name == fields.name, METADATA_TRUE, || {
                format!("{} is called {name:?}, not {:?}", hex(&hash), fields.name)
            });
        }
        _ => found.fail(METADATA_TRUE, || format!("{} can be read, and says broken", hex(&hash))),
    }
}
