//! Rules 10 (levels) and 18: the crawler's counters held against what crossed the boundary.
//!
//! Datagrams are counted by class. The core counts queries, and datagrams in all but uTP: what it
//! sent beside queries must be the answers seen. Packets of uTP it counts apart.

use std::net::SocketAddr;

use estudely_core::limits::{
    DELAYED_MAX, JOBS_MAX, OPEN_MAX, PENDING_MAX, SAMPLES_PER_REPLY, SILENT_MAX,
};
use estudely_core::{PeerFault, Stats};

use super::address::{ip_key, key};
use super::class::Class;
use super::dials::Dials;
use super::heard::Heard;
use super::krpc::Reply;
use super::rows::Rows;
use super::sent::Ask;
use super::sets::Seen;
use super::transactions::Transactions;
use crate::judge::rule::{COUNTERS_BALANCE, Findings, MEMORY_BOUNDED, TABLE_SOUND};

/// Most nodes in the table of one family: buckets of 128, 64, 32, 16, then 46 of 8 (5.10).
const TABLE_MAX: u64 = 128 + 64 + 32 + 16 + 46 * 8;

/// Datagrams of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct ClassCounts {
    by_class: [u64; Class::COUNT],
    bytes: u64,
}

impl ClassCounts {
    fn add(&mut self, class: Class, bytes: usize) {
        self.by_class[class as usize] += 1;
        self.bytes += bytes as u64;
    }

    const fn of(&self, class: Class) -> u64 {
        self.by_class[class as usize]
    }

    fn count(&self) -> u64 {
        self.by_class.iter().sum()
    }
}

/// What one run did, counted from outside.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// The run began without any saved state: what it has heard of it has heard in this run.
    fresh: bool,
    /// The outputs take no more rows: what is settled from then on is counted, and not given out.
    rows_wait: bool,
    pub(super) own: [bool; 2],
    received: ClassCounts,
    sent: ClassCounts,
    /// Packets of uTP that came, where it is on, and that went.
    packets: [u64; 2],
    asked: [u64; 4],
    answered: u64,
    refused: u64,
    late: u64,
    queries: u64,
    malformed: u64,
    unmatched: u64,
    /// At most so many were sampled.
    samples: u64,
    asked_ips: Seen,
    answered_ips: Seen,
    sampling_ips: Seen,
    /// Distinct infohashes, over all runs: all that may be known.
    infohashes: Seen,
    /// Sample queries sent less those answered: an upper bound of those silent.
    silent: u64,
}

impl Counters {
    pub(super) fn on_started(&mut self, fresh: bool, own: [bool; 2]) {
        let infohashes = std::mem::take(&mut self.infohashes);
        *self = Self { fresh, own, infohashes, ..Self::default() };
    }

    pub(super) fn on_sent(&mut self, class: Class, bytes: usize) {
        if class == Class::Utp {
            self.packets[1] += 1;
        } else {
            self.sent.add(class, bytes);
        }
    }

    /// A packet of uTP was received, or what would be one if it were whole.
    pub(super) fn on_packet(&mut self) {
        self.packets[0] += 1;
    }

    pub(super) fn on_asked(&mut self, to: SocketAddr, ask: Ask) {
        let method = match ask {
            Ask::Ping => 0,
            Ask::FindNode => 1,
            Ask::GetPeers(_) => 2,
            Ask::Sample => 3,
        };
        self.asked[method] += 1;
        self.silent += u64::from(ask == Ask::Sample);
        self.asked_ips.insert(ip_key(to));
    }

    pub(super) fn on_received(&mut self, class: Class, bytes: usize) {
        self.received.add(class, bytes);
    }

    /// The outputs take no more rows.
    pub(super) fn on_output(&mut self) {
        self.rows_wait = true;
    }

    /// The crawler was asked for this infohash.
    pub(super) fn on_requested(&mut self, hash: &[u8; 20]) {
        self.infohashes.insert(key(&[hash]));
    }

    /// A query of another node was received; one that is not whole counts as malformed.
    pub(super) fn on_question(&mut self, whole: bool) {
        self.queries += u64::from(whole);
        self.malformed += u64::from(!whole);
    }

    pub(super) fn on_malformed(&mut self) {
        self.malformed += 1;
    }

    pub(super) fn on_unmatched(&mut self) {
        self.unmatched += 1;
    }

    /// A query was refused, by an error or by a reply without an id.
    pub(super) fn on_refused(&mut self, ask: Ask) {
        self.refused += 1;
        self.silent -= u64::from(ask == Ask::Sample);
    }

    /// A query was answered; `is_own` says that the answer carries our own id.
    pub(super) fn on_reply(&mut self, from: SocketAddr, ask: Ask, reply: &Reply<'_>, is_own: bool) {
        self.answered += 1;
        self.silent -= u64::from(ask == Ask::Sample && !is_own);
        self.count_reply(from, ask, reply, is_own);
    }

    /// The same of a query that had failed; the node may still stand among the silent ones.
    pub(super) fn on_late_reply(
        &mut self,
        from: SocketAddr,
        ask: Ask,
        reply: &Reply<'_>,
        is_own: bool,
    ) {
        self.late += 1;
        self.count_reply(from, ask, reply, is_own);
    }

    /// A query that had failed was refused.
    pub(super) fn on_late_refused(&mut self) {
        self.late += 1;
    }

    fn count_reply(&mut self, from: SocketAddr, ask: Ask, reply: &Reply<'_>, is_own: bool) {
        self.answered_ips.insert(ip_key(from));
        if ask == Ask::Sample && reply.samples.is_some() && !is_own {
            self.sampling_ips.insert(ip_key(from));
            self.add_samples(reply);
        }
    }

    /// A reply came to a query that the crawler may have given up: what it says counts if it had
    /// not, which the slack below allows for.
    pub(super) fn on_doubtful_reply(
        &mut self,
        from: SocketAddr,
        ask: Ask,
        reply: &Reply<'_>,
        is_own: bool,
    ) {
        self.count_reply(from, ask, reply, is_own);
    }

    fn add_samples(&mut self, reply: &Reply<'_>) {
        for hash in reply.infohashes().take(SAMPLES_PER_REPLY) {
            self.samples += 1;
            self.infohashes.insert(key(&[&hash]));
        }
    }

    /// The counters at an instant at which nothing is left to do.
    pub(super) fn on_drained(
        &mut self,
        found: &mut Findings,
        stats: &Stats,
        parts: (&Transactions, &Dials, &Rows, &Heard),
    ) {
        let (transactions, dials, rows, heard) = parts;
        self.check_datagrams(found, stats, transactions);
        check_dials(found, stats, dials);
        let [verified, broken, failed] = rows.counts;
        for (name, said, counted) in [
            ("verified", stats.verified, verified),
            ("broken", stats.broken, broken),
            ("failed", stats.failed, failed),
        ] {
            let most = if self.rows_wait { u64::MAX } else { counted };
            between(found, name, said, counted, most);
        }
        let ended = if self.rows_wait {
            stats.verified + stats.broken + stats.failed
        } else {
            verified + broken + failed
        };
        at_most(found, "settled", stats.settled, ended);
        for (name, said, seen) in [
            ("contacts_asked", stats.contacts_asked, &self.asked_ips),
            ("contacts_answered", stats.contacts_answered, &self.answered_ips),
            ("nodes_sampling", stats.nodes_sampling, &self.sampling_ips),
        ] {
            let slack = if self.fresh { transactions.doubtful } else { u64::MAX };
            let counted = seen.len() as u64;
            between(found, name, said, counted.saturating_sub(slack), counted);
        }
        at_most(found, "infohashes_sampled", stats.infohashes_sampled, self.samples);
        at_most(found, "infohashes_new", stats.infohashes_new, self.infohashes.len() as u64);
        self.check_levels(found, stats, heard);
    }

    /// Takes back what a doubtful answer was counted as.
    fn check_datagrams(&self, found: &mut Findings, stats: &Stats, open: &Transactions) {
        let (received, sent) = (&self.received, &self.sent);
        exact(found, "datagrams_received", stats.datagrams_received, received.count());
        exact(found, "datagram_bytes_received", stats.datagram_bytes_received, received.bytes);
        exact(found, "datagrams_sent", stats.datagrams_sent, sent.count());
        exact(found, "datagram_bytes_sent", stats.datagram_bytes_sent, sent.bytes);
        let beside = stats.datagrams_sent.saturating_sub(stats.queries());
        let answers = sent.of(Class::Reply) + sent.of(Class::Error);
        exact(found, "datagrams sent that are no queries", beside, answers);
        let heard = stats.utp_packets_received + stats.utp_packets_ignored + stats.utp_syns_ignored;
        exact(found, "utp packets received", heard, self.packets[0]);
        exact(found, "utp_packets_sent", stats.utp_packets_sent, self.packets[1]);
        let [ping, find_node, get_peers, sample] = self.asked;
        exact(found, "queries_ping", stats.queries_ping, ping);
        exact(found, "queries_find_node", stats.queries_find_node, find_node);
        exact(found, "queries_get_peers", stats.queries_get_peers, get_peers);
        exact(found, "queries_sample", stats.queries_sample, sample);
        exact(found, "queries_received", stats.queries_received, self.queries);
        exact(found, "malformed", stats.malformed, self.malformed);
        let slack = open.doubtful;
        let within = |found: &mut Findings, name, said, counted: u64| {
            between(
                found,
                name,
                said,
                counted.saturating_sub(slack),
                counted.saturating_add(slack),
            );
        };
        within(found, "answered", stats.answered, self.answered);
        within(found, "refused", stats.refused, self.refused);
        within(found, "late", stats.late, self.late);
        within(found, "unmatched", stats.unmatched, self.unmatched);
        let ended = stats.answered + stats.refused + stats.expired + stats.queries_open;
        exact(found, "queries sent, by their ends,", ended, stats.queries());
    }

    fn check_levels(&self, found: &mut Findings, stats: &Stats, heard: &Heard) {
        let families = self.own.iter().filter(|on| **on).count() as u64;
        let bound = |found: &mut Findings, name: &str, said: u64, most: u64| {
            found.check(said <= most, MEMORY_BOUNDED, || format!("{name} is {said}, over {most}"));
        };
        bound(found, "queries_open", stats.queries_open, families * OPEN_MAX as u64);
        bound(found, "infohashes_open", stats.infohashes_open, (JOBS_MAX + PENDING_MAX) as u64);
        // Each region of the frontier holds so many of those heard of; who stayed silent, and
        // whose query is set aside, waits besides.
        let silent = self.silent.min(SILENT_MAX as u64 + OPEN_MAX as u64);
        let aside = DELAYED_MAX as u64;
        let named = heard.bootstraps();
        bound(found, "contacts_queued", stats.contacts_queued, heard.room + silent + aside + named);
        let most = (families * TABLE_MAX).min(heard.answered_ips.len() as u64);
        found.check(stats.table_nodes <= most, TABLE_SOUND, || {
            format!("{} nodes in the tables; {most} ever answered or fit", stats.table_nodes)
        });
    }
}

fn check_dials(found: &mut Findings, stats: &Stats, dials: &Dials) {
    exact(found, "dialled", stats.dialled, dials.dialled);
    exact(found, "connected", stats.connected, dials.connected);
    exact(found, "delivered", stats.delivered, dials.delivered);
    let [mse, utp_mse] = dials.sealed_connected;
    exact(found, "mse_connected", stats.mse_connected, mse);
    exact(found, "utp_mse_connected", stats.utp_mse_connected, utp_mse);
    let over_utp = stats.utp_dialled + stats.utp_mse_dialled;
    exact(found, "dialled over uTP", over_utp, dials.dialled_utp);
    for (name, by_transport, all) in [
        (
            "dialled",
            [stats.tcp_dialled, stats.mse_dialled, stats.utp_dialled, stats.utp_mse_dialled],
            stats.dialled,
        ),
        (
            "connected",
            [
                stats.tcp_connected,
                stats.mse_connected,
                stats.utp_connected,
                stats.utp_mse_connected,
            ],
            stats.connected,
        ),
        (
            "handshaken",
            [
                stats.tcp_handshaken,
                stats.mse_handshaken,
                stats.utp_handshaken,
                stats.utp_mse_handshaken,
            ],
            stats.handshaken,
        ),
        (
            "complete",
            [stats.tcp_complete, stats.mse_complete, stats.utp_complete, stats.utp_mse_complete],
            stats.complete,
        ),
    ] {
        let sum: u64 = by_transport.iter().sum();
        found.check(sum == all, COUNTERS_BALANCE, || {
            format!("{name} is {all}, and {by_transport:?} by transport")
        });
    }
    exact(found, "connections_open", stats.connections_open, dials.len() as u64);
    for fault in PeerFault::ALL {
        let at = *fault as usize;
        exact(found, fault.word(), stats.faults[at], dials.faults[at]);
    }
    for (less, more) in [
        (("handshaken", stats.handshaken), ("connected", stats.connected)),
        (("offering_metadata", stats.offering_metadata), ("handshaken", stats.handshaken)),
        (("complete", stats.complete), ("offering_metadata", stats.offering_metadata)),
        (("delivered", stats.delivered), ("complete", stats.complete)),
    ] {
        found.check(less.1 <= more.1, COUNTERS_BALANCE, || {
            format!("{} is {}, {} only {}", less.0, less.1, more.0, more.1)
        });
    }
}

fn exact(found: &mut Findings, name: &str, said: u64, counted: u64) {
    between(found, name, said, counted, counted);
}

fn at_most(found: &mut Findings, name: &str, said: u64, counted: u64) {
    between(found, name, said, 0, counted);
}

fn between(found: &mut Findings, name: &str, said: u64, least: u64, most: u64) {
    found.check((least..=most).contains(&said), COUNTERS_BALANCE, || {
        format!("{name} is {said}; counted from outside {least} to {most}")
    });
}
