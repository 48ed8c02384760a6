//! What nodes sampled beyond what was taken at once: it waits until something of the same node is
//! verified, so that an invented infohash costs its inventor more than naming it. Must never hold
//! more than a fixed table does.

use crate::base::addr::Contact;
use crate::base::id::InfoHash;
use crate::base::rng::Rng;
use crate::base::store::Cells;
use crate::crawl::standing::Sponsor;
use crate::limits::SAMPLES_KEPT;

/// What is left of the sample of one node.
#[derive(Clone, Debug, Default)]
struct Kept {
    node: Option<(Sponsor, Contact)>,
    hashes: Vec<InfoHash>,
}

/// The table. Of two nodes in one cell the later one takes it.
#[derive(Debug)]
pub(crate) struct KeptSamples(Cells<Kept>);

impl KeptSamples {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self(Cells::new(rng, SAMPLES_KEPT))
    }

    /// Keeps the rest of a node's sample, in place of what was kept for it before.
    pub(crate) fn keep(
        &mut self,
        sponsor: Sponsor,
        node: Contact,
        hashes: impl Iterator<Item = InfoHash>,
    ) {
        let mut hashes = hashes.peekable();
        if hashes.peek().is_some() {
            let kept = self.0.get_mut(&sponsor.key());
            kept.node = Some((sponsor, node));
            kept.hashes.clear();
            kept.hashes.extend(hashes);
        }
    }

    /// Takes the next infohash kept for a node.
    pub(crate) fn take(&mut self, sponsor: Sponsor) -> Option<(Contact, InfoHash)> {
        let kept = self.0.get_mut(&sponsor.key());
        let (_, node) = kept.node.filter(|(of, _)| *of == sponsor)?;
        Some((node, kept.hashes.pop()?))
    }
}
