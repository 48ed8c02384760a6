//! What a peer is asked in which way, over all infohashes of a run.

use std::net::SocketAddr;

use super::SECOND;
use crate::base::addr::AddressPolicy;
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::rng::Seed;
use crate::base::time::Instant;
use crate::config::{Config, EncryptionPolicy, Mode};
use crate::crawl::crawler::Crawler;
use crate::lead::Request;
use crate::limits::HABIT_KEPT;
use crate::peer::exchange::{Progress, Transport};

/// A crawl that asks one peer for one infohash after the other.
struct Asking {
    crawler: Crawler,
    now: Instant,
    asked: u8,
}

impl Asking {
    fn new(encryption: EncryptionPolicy) -> Self {
        let config = Config {
            policy: AddressPolicy::AllowPrivate,
            new_flows: None,
            encryption,
            ..Config::new(Mode::Direct)
        };
        let now = Instant::START;
        Self { crawler: Crawler::new(config, Seed::from_u64(3), now), now, asked: 0 }
    }

    /// Asks for the next infohash from a peer that accepts and `takes` one way alone: in which ways
    /// it was dialled.
    fn ask(&mut self, takes: Transport) -> Vec<Transport> {
        self.asked += 1;
        self.now = self.now + SECOND;
        let peer = SocketAddr::from(([30, 1, 1, 1], 6_881));
        let request = Request::new(InfoHash([self.asked; 20]), [peer]);
        self.crawler.handle_request(self.now, &request).expect("room");
        let mut ways = Vec::new();
        while let Some(mut dial) = self.crawler.poll_dial(self.now) {
            ways.push(dial.transport);
            let mut out = Vec::new();
            dial.exchange.handle_connected(self.now, &mut out);
            let is_clear = out.starts_with(b"\x13BitTorrent protocol");
            assert_eq!(is_clear, dial.transport == Transport::Tcp);
            let mut outcome = if dial.transport == takes {
                dial.exchange.handle_failed(self.now, PeerFault::NoMetadata)
            } else {
                dial.exchange.handle_closed(self.now)
            };
            if dial.transport == takes {
                outcome.progress = Progress::Handshaken;
            }
            self.crawler.handle_outcome(self.now, dial.peer, outcome);
            self.crawler.check();
        }
        assert!(self.crawler.poll_row().is_some(), "it is settled");
        ways
    }
}

const CLEAR: Transport = Transport::Tcp;
const SEALED: Transport = Transport::TcpEncrypted;

#[test]
fn who_was_reached_by_encryption_alone_is_asked_that_way_first_until_it_answers_to_the_other() {
    let mut asking = Asking::new(EncryptionPolicy::Auto);
    assert_eq!(asking.ask(SEALED), [CLEAR, SEALED]);
    assert_eq!(asking.ask(SEALED), [SEALED]);
    assert_eq!(asking.ask(CLEAR), [SEALED, CLEAR]);
    assert_eq!(asking.ask(CLEAR), [CLEAR]);
    assert_eq!(asking.ask(SEALED), [CLEAR, SEALED]);
    asking.now = asking.now + HABIT_KEPT;
    assert_eq!(asking.ask(SEALED), [CLEAR, SEALED], "it may be another client by now");
    let stats = asking.crawler.stats();
    assert_eq!((stats.tcp_dialled, stats.mse_dialled, stats.dialled), (5, 5, 10));
    assert_eq!((stats.tcp_connected, stats.mse_connected), (5, 5));
    assert_eq!((stats.tcp_handshaken, stats.mse_handshaken), (2, 4));
    assert_eq!(stats.faults[PeerFault::ClosedEarly as usize], 3);
    assert_eq!(stats.faults[PeerFault::ClosedExchangingKeys as usize], 1);
}

#[test]
fn where_encryption_is_required_or_off_there_is_one_way() {
    for (policy, way) in [(EncryptionPolicy::Require, SEALED), (EncryptionPolicy::Off, CLEAR)] {
        for takes in [CLEAR, SEALED] {
            let mut asking = Asking::new(policy);
            assert_eq!(asking.ask(takes), [way], "{policy:?}");
            assert_eq!(asking.ask(takes), [way], "{policy:?}");
        }
    }
}
