//! The rules by name, and what is noted when one is broken. Deciding is done elsewhere.

use std::collections::BTreeSet;
use std::fmt;

use estudely_core::Instant;

/// Something that must hold in every run.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number (safety) or letter (liveness) in the catalogue of invariants.
    pub mark: &'static str,
    /// What output calls it.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
}

/// Declares the rules once: constant, mark, name, text; and the list of them.
macro_rules! rules {
    ($($(#[doc = $doc:literal])* $rule:ident = $mark:literal $name:literal : $text:literal;)*) => {
        $(#[doc = $text] #[doc = ""] $(#[doc = $doc])*
        pub const $rule: &Rule = &Rule { mark: $mark, name: $name, text: $text };)*

        /// Every rule, in order.
        pub const RULES: &[&Rule] = &[$($rule),*];
    };
}

rules! {
    METADATA_TRUE = "1" "metadata-true":
        "A row's metadata hashes to its infohash, and the world holds that torrent with those fields.";
    ONE_ROW = "2" "one-row":
        "An infohash is emitted at most once as False and at most once as True, never False after True.";
    /// Per address means per IP on the public network (ARCHITECTURE). An id is held against an
    /// address only if no answer ever named the address under another one (D12).
    INTERVAL_KEPT = "3" "interval-kept":
        "No sample_infohashes before the last answered interval ends, by address and by id, crashes included.";
    TRANSACTIONS_BOUNDED = "4" "transactions-bounded":
        "Open queries keep within their caps, and each ends by its answer or its deadline.";
    /// Seen from outside: what is asked, looked up, dialled, or sent uTP stands whole in an answer
    /// that matched.
    /// [`rows_equal_without_forgeries`](super::compare::rows_equal_without_forgeries) is the other
    /// half.
    MATCHED_REPLIES = "5" "matched-replies":
        "A reply counts only if transaction and source match a query that is open, or failed within its last 9 s.";
    /// A second limit of N is a bucket with N/20 as burst, so every window of a second holds at
    /// most N and longer windows need no check of their own. Per address 22 at once and 1.8 a
    /// second, hence 40 in any 10 s (H10).
    /// The rate is that of queries; answers count for their address alone, and open no flow, since
    /// the question did. A connection is a flow, over TCP as over uTP, whose packets have a rate of
    /// their own.
    /// Silence after timeouts: no node is sampled again while a sample query to it is open.
    PACE_KEPT = "6" "pace-kept":
        "Datagrams, bytes and new flows keep within their rates in every window, and within courtesy per address.";
    ADMISSIBLE = "7" "admissible-address":
        "Nothing goes to a martian, multicast, port 0, our own or a wrong-family address.";
    WELL_FORMED = "8" "well-formed":
        "Queries and answers are canonical bencode under our node id, at most 1 024 bytes; a query has a fresh transaction, and ro unless queries are answered; a uTP packet is whole, at most 548 bytes; nothing else is sent.";
    /// One plan an hour per infohash and endpoint, of at most four connects that came to nothing by
    /// the peer's fault or the crowd's. It goes on (ARCHITECTURE) in the same way after a hang-up on
    /// one of several connections to the address, after pressure, after a failure while no other
    /// node answered either, and once more piece by piece when a peer fell silent with several
    /// pieces due; and in another way, encrypted or not, over TCP or uTP, when a peer accepted a connection
    /// and did not shake hands; over the other of these when it accepted none. Of connections that were not accepted, and of encrypted ones that no peer answered, it
    /// is not to be seen for which infohash they were: they are counted by endpoint.
    DIALS_BOUNDED = "9" "dials-bounded":
        "Connections keep within their caps, are not repeated, and end by their hard deadline.";
    MEMORY_BOUNDED = "10" "memory-bounded":
        "Levels, saved state and metadata under assembly keep within their constants.";
    /// All pieces may be asked for in one write (9.6), so the depth is the piece count.
    REQUESTS_IN_ORDER = "11" "requests-in-order":
        "Pieces are asked for only after an acceptable offer, in range, under the id the peer announced, and again only after a pause if they were refused or lost.";
    SILENT_AFTER_END = "12" "silent-after-end":
        "Nothing is written to a connection after its outcome, and each connection has one outcome.";
    TABLE_SOUND = "13" "table-sound":
        "Routing tables hold only nodes that answered us, each once, in the right and bounded bucket.";
    /// One contact per IP and round; the node that gave the sample is asked up to twice before. A
    /// query that did not answer within a second has stalled and frees its place. A lookup that
    /// ended while no node answered anything at all is made once more when one does.
    WALKS_SOUND = "14" "walks-sound":
        "A lookup has at most alpha queries in flight per family, asks no contact twice, and ends.";
    /// A lookup under way when its infohash is settled ends with it. What a run is asked for by
    /// name is begun anew if an earlier run gave it up.
    NO_WORK_TWICE = "15" "no-work-twice":
        "No lookup or dial begins for an infohash already emitted, or given up before its retry time.";
    DEADLINE_AHEAD = "16" "deadline-ahead":
        "Once everything is drained, the next deadline lies ahead.";
    TIME_MONOTONE = "17" "time-monotone":
        "Time never runs backwards, in events or rows.";
    /// Datagrams are counted by class.
    COUNTERS_BALANCE = "18" "counters-balance":
        "Every counter equals what the observer counted, and they balance.";
    /// Judged of replies and errors. Whether a crawler serves is known to its harness; see
    /// [`Checker::serving`](super::checker::Checker::serving).
    ANSWERS_IN_ORDER = "19" "answers-in-order":
        "What says ro answers nothing; else an answer goes to a query, once, under its transaction, of bounded size, and an announce needs our token.";
    FAMILIES_APART = "20" "families-apart":
        "Trouble in one address family never delays the other.";
    /// Judged by [`super::trace`].
    SAME_TRACE = "21" "same-trace":
        "The same seed gives the same trace in a second run and a second process.";
    /// Judged by [`splits`](super::compare::splits), which reads again what one connection in eight
    /// received.
    ANY_SPLIT = "22" "any-split":
        "Any split of a stream's input gives the same outcome and the same bytes out.";
    /// A router that some node named while routers wait is a contact like any other.
    ROUTERS_WAIT = "23" "routers-wait":
        "After a warm start public routers are asked only after 5 s without an answer of their family, or 300 s after its last one.";
    /// 30 s, or the overall timeout if that is sooner. An end is over when what it cut off is
    /// reported, at most 1.5 s later. What comes after it is rule d.
    ENDS_ON_TIME = "24" "ends-on-time":
        "A run to which no node answers fails in time and not before, none outlives its overall timeout, its work or its full outputs, and each end is over in time.";
    /// Seen from outside; a limit is not counted over a restart, where second chances give no rows.
    NOT_TOO_EARLY = "25" "not-too-early":
        "A run that ends by itself has reason to: as many rows as its limit, no work for its idle time, a row for each request, outputs that are full, closed or lost; the last two at once, the others once rows are handed on.";
    /// Opened with the private key of the peer, which the world knows. What is said inside is judged
    /// like any other connection.
    ENCRYPTION_SOUND = "26" "encryption-sound":
        "Connections are encrypted where that was asked for; each begins as specified: a key, at most 512 bytes of padding, both marks of the secret with its zeros, an offer of ways that there are, and the handshake.";
    /// A packet of a connection that just ended may only say so. Of the ids those of the SYNs are
    /// known; what is sent otherwise has one more.
    UTP_SOUND = "27" "utp-sound":
        "uTP goes to endpoints alone to which a connection over it is open, asks each at most three times, under ids of its own, and names a connection by the id that it was begun with.";
    TABLE_FILLS = "a" "table-fills":
        "The table holds nodes soon after one honest bootstrap answer.";
    NODES_SAMPLED = "b" "nodes-sampled":
        "Every reachable honest node is sampled in time.";
    TORRENTS_FOUND = "c" "torrents-found":
        "Every exposed torrent with a reachable honest peer is emitted as True in time.";
    IDLE_AFTER_SHUTDOWN = "d" "idle-after-shutdown":
        "After shutdown the crawler is idle at once: nothing is sent, dialled or left open.";
    HOSTILITY_ONLY_SLOWS = "e" "hostility-only-slows":
        "A hostile share of up to half may slow a to c by the stated factor, not stop them, and not for half a minute where nodes only draw work to themselves.";
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: &'static Rule,
    /// When, in the harness's time.
    pub at: Instant,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at.as_micros() / 1_000_000, self.at.as_micros() % 1_000_000);
        let Rule { mark, name, .. } = self.rule;
        write!(f, "rule {mark} {name} at {seconds}.{micros:06} s: {}", self.what)
    }
}

/// What was found so far: the first breach whole, the rest by number.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) now: Instant,
    first: Option<Broken>,
    count: u64,
    names: BTreeSet<&'static str>,
}

impl Findings {
    /// Notes that `rule` does not hold. `what` is made up only for the first.
    pub(super) fn fail(&mut self, rule: &'static Rule, what: impl FnOnce() -> String) {
        self.count += 1;
        self.names.insert(rule.name);
        if self.first.is_none() {
            self.first = Some(Broken { rule, at: self.now, what: what() });
        }
    }

    /// Notes a breach unless `holds`.
    pub(super) fn check(
        &mut self,
        holds: bool,
        rule: &'static Rule,
        what: impl FnOnce() -> String,
    ) {
        if !holds {
            self.fail(rule, what);
        }
    }

    pub(super) fn first(&self) -> Option<&Broken> {
        self.first.as_ref()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied()
    }
}

/// Twenty bytes as text.
pub(super) fn hex(bytes: &[u8; 20]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(40), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_names_are_unique_and_complete() {
        let marks: Vec<_> = RULES.iter().map(|rule| rule.mark).collect();
        let numbers = (1..=27).map(|n: u32| n.to_string());
        let expected: Vec<_> = numbers.chain("abcde".chars().map(String::from)).collect();
        assert_eq!(marks, expected);
        for rule in RULES {
            assert_eq!(RULES.iter().filter(|other| other.name == rule.name).count(), 1);
        }
    }
}
