//! A crawler alone on a stage: the test plays every node and every peer, to the microsecond. There
//! is no DHT: single answers, as the test says them.

use std::net::SocketAddr;

use super::*;
use crate::base::addr::Contact;
use crate::base::id::NodeId;
use crate::codec::krpc::{self, Envelope, Kind, Message, Method, ReplyBody};

/// A query that the crawler has sent.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) to: SocketAddr,
    pub(super) kind: Query,
    transaction: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    FindNode,
    GetPeers,
    Sample,
    Other,
}

impl Asked {
    /// The last four of the six bytes of its transaction id.
    pub(super) fn drawn(&self) -> u32 {
        let [_, _, drawn @ ..] = &self.transaction[..] else { panic!("{:?}", self.transaction) };
        u32::from_be_bytes((*drawn).try_into().expect("six bytes"))
    }
}

pub(super) struct Stage {
    pub(super) crawler: Crawler,
    pub(super) now: Instant,
    buf: Vec<u8>,
}

impl Stage {
    /// On the public network, in both families, without limits of rate.
    pub(super) fn new(mode: Mode) -> Self {
        Self::with(Config::new(mode))
    }

    pub(super) fn with(config: Config) -> Self {
        let own = ["9.9.9.9:6881", "[2a00:9::9]:6881"].map(|addr| addr.parse().ok());
        let config = Config { own, rate: None, new_flows: None, ..config };
        let now = Instant::START;
        let crawler = Crawler::new(config, Seed::from_u64(1), now);
        Self { crawler, now, buf: Vec::new() }
    }

    /// What is sent now.
    pub(super) fn asked(&mut self) -> Vec<Asked> {
        std::iter::from_fn(|| self.next_asked()).collect()
    }

    /// The next datagram.
    pub(super) fn next_asked(&mut self) -> Option<Asked> {
        self.buf.clear();
        let families = Family::ALL.into_iter();
        let to = families
            .filter_map(|family| self.crawler.poll_transmit(self.now, family, &mut self.buf))
            .map(|transmit| transmit.to)
            .next()?;
        let message = Message::parse(&self.buf).expect("the crawler sends valid messages");
        let Kind::Query(query) = message.kind else { panic!("the crawler only asks") };
        let kind = match query.method {
            Method::SampleInfohashes { .. } => Query::Sample,
            Method::GetPeers { .. } => Query::GetPeers,
            Method::FindNode { .. } => Query::FindNode,
            _ => Query::Other,
        };
        let transaction = message.transaction.to_vec();
        Some(Asked { at: self.now, to, kind, transaction })
    }

    /// Answers a query at once.
    pub(super) fn answer(&mut self, asked: &Asked, body: &ReplyBody<'_>) {
        let transaction = &asked.transaction;
        let envelope = Envelope { transaction, version: None, read_only: false, external: None };
        let mut reply = Vec::new();
        krpc::emit_reply(&mut reply, &envelope, body);
        self.crawler.handle_datagram(self.now, asked.to, &reply);
        self.crawler.check();
    }

    /// Answers a query with an error at once.
    pub(super) fn refuse(&mut self, asked: &Asked, code: i64) {
        let transaction = &asked.transaction;
        let envelope = Envelope { transaction, version: None, read_only: false, external: None };
        let mut reply = Vec::new();
        krpc::emit_error(&mut reply, &envelope, code, b"no");
        self.crawler.handle_datagram(self.now, asked.to, &reply);
        self.crawler.check();
    }

    /// The next query sent until `end`; time passes as it must.
    pub(super) fn next_until(&mut self, end: Instant) -> Option<Asked> {
        loop {
            if let Some(asked) = self.next_asked() {
                return Some(asked);
            }
            let at = self.crawler.poll_timeout().filter(|at| *at <= end);
            self.now = at.unwrap_or(end).max(self.now);
            self.crawler.handle_timeout(self.now);
            at?;
        }
    }

    /// Lets time pass; `play` sees each query as it is sent, and may answer.
    pub(super) fn play(&mut self, time: Duration, mut play: impl FnMut(&mut Self, &Asked)) {
        let end = self.now + time;
        while let Some(asked) = self.next_until(end) {
            play(self, &asked);
        }
    }

    /// Everything sent in the time to come, unanswered.
    pub(super) fn sent_within(&mut self, time: Duration) -> Vec<Asked> {
        let mut sent = Vec::new();
        self.play(time, |_, asked| sent.push(asked.clone()));
        sent
    }

    /// Begins with one node that the user names; its first query, a `find_node`.
    pub(super) fn begin(&mut self, node: Contact) -> Asked {
        self.crawler.handle_bootstrap(self.now, &[node.addr], Bootstrap::Node);
        let asked = self.next_asked().expect("a node was named");
        assert_eq!((asked.to, asked.kind), (node.addr, Query::FindNode));
        asked
    }
}

/// Node `n`, at an address and in a net of its own, in a part of the keyspace of its own.
pub(super) fn node(n: u8) -> Contact {
    let mut id = [n; 20];
    id[0] = n.wrapping_mul(61);
    Contact { id: NodeId(id), addr: SocketAddr::from(([20, n, 1, 1], 6_881)) }
}

pub(super) fn body(node: Contact) -> ReplyBody<'static> {
    ReplyBody::new(node.id)
}
