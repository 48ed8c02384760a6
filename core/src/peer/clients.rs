//! How many metadata requests at once each kind of client serves, as learnt in this run (9.6).
//!
//! Clients are told apart by what they say of themselves, which may be false: all that a lie can do
//! is make others of that name be asked in a smaller portion first. What a peer serves itself
//! decides on the portions after that.

use std::sync::Arc;

use crate::limits::{CLIENT_GROWS_AFTER, CLIENTS_MAX, REQUESTS_AT_ONCE};

/// Peer ids of clients which serve no more on a connection once a request comes before the answer
/// to the last is written: rtorrent, as measured with 0.9.8.
const JAMMING: [&[u8]; 1] = [b"-lt0"];

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

    /// Whether two requests at once are the end of all answers, so that none must ever be tried.
    pub(crate) fn jams(&self) -> bool {
        JAMMING.iter().any(|prefix| self.prefix.starts_with(prefix))
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
    /// How many requests at once it serves, or served where none was lost.
    pub batch: u16,
    /// Whether it refused or dropped some of more requests.
    pub lost_some: bool,
}

/// A client that does not serve as many requests as are usual.
#[derive(Clone, Copy, Debug)]
struct Entry {
    client: ClientName,
    batch: u16,
    /// Exchanges since then in which as many at once were served and nothing was lost.
    smooth: u8,
}

/// Batch sizes by client. A copy costs nothing: each exchange has one as it was when it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients(Option<Arc<Vec<Entry>>>);

impl Clients {
    /// How many requests at once this client serves, if it is not the usual number.
    pub(crate) fn batch(&self, client: &ClientName) -> Option<u16> {
        let mut entries = self.0.iter().flat_map(|entries| entries.iter());
        entries.find(|entry| entry.client == *client).map(|entry| entry.batch)
    }

    /// Notes what an exchange showed. Where nothing was lost for a while more is tried again; an
    /// exchange that asked for less than the client is known to serve shows nothing.
    pub(crate) fn learn(&mut self, learnt: Learnt) {
        let client = learnt.client;
        let known = self.batch(&client);
        let shows =
            known.map_or(learnt.lost_some, |batch| learnt.lost_some || learnt.batch >= batch);
        if !shows {
            return;
        }
        let entries = Arc::make_mut(self.0.get_or_insert_default());
        let found = entries.iter().position(|entry| entry.client == client);
        let at = found.unwrap_or_else(|| {
            if entries.len() >= CLIENTS_MAX {
                entries.remove(0);
            }
            entries.push(Entry { client, batch: learnt.batch, smooth: 0 });
            entries.len() - 1
        });
        let entry = &mut entries[at];
        if learnt.lost_some {
            *entry = Entry { client, batch: learnt.batch, smooth: 0 };
            return;
        }
        entry.smooth += 1;
        if entry.smooth >= CLIENT_GROWS_AFTER {
            (entry.batch, entry.smooth) = (entry.batch.saturating_mul(2), 0);
        }
        if entry.batch >= REQUESTS_AT_ONCE {
            entries.remove(at);
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
            clients.learn(learnt(1, 13, false));
        }
        assert_eq!(clients.batch(&named(1)), Some(14), "fewer than 14 show nothing");
        for _ in 0..48 {
            clients.learn(learnt(1, 64, false));
        }
        assert_eq!(clients.batch(&named(1)), None, "as many as of any other");
    }

    #[test]
    fn sixty_four_clients_are_remembered_and_not_one_more() {
        let mut clients = Clients::default();
        for number in 0..65 {
            clients.learn(learnt(number, 3, true));
        }
        assert_eq!(clients.0.as_ref().map(|entries| entries.len()), Some(64));
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
