//! Infohashes that were asked for by name and failed in this run, with the peers that were tried: a
//! list may name more peers for them further down, and those are orders like the first.
//!
//! Must never lead to the same peer twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::base::id::InfoHash;
use crate::limits::AGAIN_MAX;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Again {
    tried: BTreeMap<InfoHash, Vec<SocketAddr>>,
    /// Infohashes and peers in it.
    held: usize,
}

impl Again {
    /// An infohash failed after these peers were tried. Forgotten if there is no room.
    pub(crate) fn on_failed(&mut self, hash: InfoHash, peers: impl Iterator<Item = SocketAddr>) {
        let mut tried = self.take(hash).unwrap_or_default();
        for peer in peers {
            if !tried.contains(&peer) {
                tried.push(peer);
            }
        }
        if self.held + 1 + tried.len() <= AGAIN_MAX {
            self.held += 1 + tried.len();
            self.tried.insert(hash, tried);
        }
    }

    /// An infohash is settled for good.
    pub(crate) fn forget(&mut self, hash: InfoHash) {
        self.take(hash);
    }

    fn take(&mut self, hash: InfoHash) -> Option<Vec<SocketAddr>> {
        let tried = self.tried.remove(&hash)?;
        self.held -= 1 + tried.len();
        Some(tried)
    }

    /// Those of `orders` that are still to be tried; none unless the infohash has failed.
    pub(crate) fn untried(&self, hash: InfoHash, orders: &[SocketAddr]) -> Vec<SocketAddr> {
        let Some(tried) = self.tried.get(&hash) else { return Vec::new() };
        orders.iter().copied().filter(|order| !tried.contains(order)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::from(([9, 0, 0, 1], n))
    }

    #[test]
    fn peers_are_tried_once_however_often_an_infohash_fails() {
        let (hash, mut again) = (InfoHash([7; 20]), Again::default());
        let orders = [peer(1), peer(2), peer(3)];
        assert_eq!(again.untried(hash, &orders), [], "it has not failed");
        again.on_failed(hash, [peer(1)].into_iter());
        assert_eq!(again.untried(hash, &orders), [peer(2), peer(3)]);
        again.on_failed(hash, [peer(2), peer(1)].into_iter());
        assert_eq!(again.untried(hash, &orders), [peer(3)]);
        assert_eq!(again.held, 3);
        again.forget(hash);
        assert_eq!((again.untried(hash, &orders).len(), again.held), (0, 0));
    }

    #[test]
    fn what_it_holds_is_bounded() {
        let mut again = Again::default();
        for n in 0..=AGAIN_MAX / 2 {
            let mut hash = [0; 20];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            again.on_failed(InfoHash(hash), [peer(1)].into_iter());
        }
        assert_eq!(again.held, AGAIN_MAX);
    }
}
