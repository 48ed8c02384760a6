//! How many metadata requests at once each kind of client serves, as learnt in this run (9.6).
//!
//! Clients are told apart by what they say of themselves, which may be false: all that a lie can do
//! is make others of that name be asked in smaller portions for a while.

use std::sync::Arc;

use crate::limits::{CLIENT_GROWS_AFTER, CLIENTS_MAX, REQUESTS_AT_ONCE};

/// What a client calls itself: the front of its peer id, and the front of `v` in its extension
/// handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName {
    prefix: [u8; 8],
    version: [u8; 24],
}

impl ClientName {
    /// The client with this peer id, of which no extension handshake came yet.
    pub(crate) fn new(peer_id: &[u8; 20]) -> Self {
        let mut name = Self::default();
        name.prefix.copy_from_slice(&peer_id[..8]);
        name
    }

    /// It calls itself `version` in its extension handshake.
    pub(crate) fn set_version(&mut self, version: &[u8]) {
        let kept = version.len().min(self.version.len());
        self.version = Default::default();
        self.version[..kept].copy_from_slice(&version[..kept]);
    }
}

/// What one exchange showed of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// Of which client.
    pub client: ClientName,
    /// How many requests at once it serves.
    pub batch: u16,
    /// Whether it lost some of more requests; if not, `batch` of them were no trouble.
    pub lost_some: bool,
}

/// A client that does not serve as many requests as are usual.
#[derive(Clone, Copy, Debug)]
struct Entry {
    client: ClientName,
    batch: u16,
    /// Exchanges since then in which nothing was lost.
    smooth: u8,
}

/// Batch sizes by client. A copy costs nothing: each exchange has one as it was when it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(Arc<Vec<Entry>>);

impl Clients {
    /// How many requests at once this client serves, if it is not the usual number.
    pub(crate) fn batch(&self, client: &ClientName) -> Option<u16> {
        self.0.iter().find(|entry| entry.client == *client).map(|entry| entry.batch)
    }

    /// Notes what an exchange showed. Where nothing was lost for a while more is tried again.
    pub(crate) fn learn(&mut self, learnt: Learnt) {
        let known = self.0.iter().position(|entry| entry.client == learnt.client);
        let entry = Entry { client: learnt.client, batch: learnt.batch, smooth: 0 };
        match known {
            None if !learnt.lost_some => {}
            None => {
                let entries = Arc::make_mut(&mut self.0);
                if entries.len() >= CLIENTS_MAX {
                    entries.remove(0);
                }
                entries.push(entry);
            }
            Some(at) if learnt.lost_some => Arc::make_mut(&mut self.0)[at] = entry,
            Some(at) => {
                let entries = Arc::make_mut(&mut self.0);
                entries[at].smooth += 1;
                if entries[at].smooth >= CLIENT_GROWS_AFTER {
                    entries[at].batch = entries[at].batch.saturating_mul(2);
                    entries[at].smooth = 0;
                }
                if entries[at].batch >= REQUESTS_AT_ONCE {
                    entries.remove(at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(number: u8) -> ClientName {
        let mut client = ClientName::new(b"-XX1000-abcdefghijkl");
        client.set_version(&[number; 40]);
        client
    }

    fn learnt(number: u8, batch: u16, lost_some: bool) -> Learnt {
        Learnt { client: named(number), batch, lost_some }
    }

    #[test]
    fn a_client_that_loses_requests_is_asked_for_fewer_and_after_a_while_for_more() {
        let mut clients = Clients::default();
        clients.learn(learnt(1, 64, false));
        assert_eq!(clients.batch(&named(1)), None);
        clients.learn(learnt(1, 20, true));
        assert_eq!((clients.batch(&named(1)), clients.batch(&named(2))), (Some(20), None));
        clients.learn(learnt(1, 7, true));
        for _ in 0..15 {
            clients.learn(learnt(1, 7, false));
        }
        assert_eq!(clients.batch(&named(1)), Some(7));
        clients.learn(learnt(1, 7, false));
        assert_eq!(clients.batch(&named(1)), Some(14));
        for _ in 0..48 {
            clients.learn(learnt(1, 7, false));
        }
        assert_eq!(clients.batch(&named(1)), None, "as many as of any other");
    }

    #[test]
    fn sixty_four_clients_are_remembered_and_not_one_more() {
        let mut clients = Clients::default();
        for number in 0..65 {
            clients.learn(learnt(number, 3, true));
        }
        assert_eq!(clients.0.len(), 64);
        assert_eq!((clients.batch(&named(0)), clients.batch(&named(1))), (None, Some(3)));
    }

    #[test]
    fn clients_are_told_apart_by_peer_id_and_version() {
        let mut one = ClientName::new(b"-lt0D60-abcdefghijkl");
        let same = ClientName::new(b"-lt0D60-lkjihgfedcba");
        assert_eq!(one, same);
        one.set_version(b"libTorrent 0.13.8");
        assert_ne!(one, same);
        one.set_version(b"");
        assert_eq!(one, same);
        assert_ne!(same, ClientName::new(b"-lt0D70-abcdefghijkl"));
    }
}
