//! How much of what there is has been found, per query sent: the coverage curve.
//!
//! An observer: it knows the infohashes that are exposed from the world and everything else from
//! the traffic. A found infohash is one that stood in a sample received; forged answers count for
//! nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use estudely_core::krpc::{Kind, Message, Method};
use estudely_core::{Duration, InfoHash, Instant, Verdict};

use crate::net::event::{Event, Observer};

/// Most points kept: beyond, every second one goes and later ones are taken half as often.
pub const POINTS_MAX: usize = 1_024;
/// The share of what is exposed that counts as nearly all.
pub const NEARLY_ALL: f64 = 0.99;

/// One point of the curve: totals since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CurvePoint {
    /// Queries sent, of every method.
    pub queries: u64,
    /// Of these, `sample_infohashes`.
    pub sample_queries: u64,
    /// Time since the run began.
    pub elapsed: Duration,
    /// Distinct addresses that were sent a query.
    pub contacts_asked: u64,
    /// Distinct addresses that answered one.
    pub contacts_answered: u64,
    /// Distinct exposed infohashes seen in samples.
    pub infohashes_found: u64,
    /// Distinct infohashes with a verified row.
    pub verified: u64,
    /// Found of what is exposed, 0 to 1.
    pub share: f64,
}

impl CurvePoint {
    /// Sample queries for each contact asked so far.
    pub fn sample_queries_per_contact(&self) -> f64 {
        self.sample_queries as f64 / self.contacts_asked.max(1) as f64
    }
}

/// What is known of a remote address.
#[derive(Clone, Copy, Debug, Default)]
struct Contact {
    answered: bool,
}

/// What is known of an infohash.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    sampled: bool,
    verified: bool,
}

/// The curve as far as it goes.
#[derive(Debug)]
pub struct Curve {
    exposed: BTreeMap<InfoHash, Found>,
    contacts: BTreeMap<SocketAddr, Contact>,
    now: CurvePoint,
    points: Vec<CurvePoint>,
    /// Queries between two points.
    stride: u64,
    nearly_all: Option<CurvePoint>,
    goal: Option<f64>,
}

impl Curve {
    /// A curve over the infohashes that nodes expose. With a goal the run may end once that share
    /// of them, 0 to 1, is found.
    pub fn new(exposed: impl IntoIterator<Item = InfoHash>, goal: Option<f64>) -> Self {
        Self {
            exposed: exposed.into_iter().map(|hash| (hash, Found::default())).collect(),
            contacts: BTreeMap::new(),
            now: CurvePoint::default(),
            points: Vec::new(),
            stride: 1,
            nearly_all: None,
            goal,
        }
    }

    /// Where the curve stands now.
    pub fn last(&self) -> CurvePoint {
        self.now
    }

    /// The curve, oldest point first, with the one where it stands now at the end.
    pub fn points(&self) -> impl Iterator<Item = CurvePoint> + '_ {
        let last = self.points.last().is_none_or(|last| *last != self.now);
        self.points.iter().copied().chain(last.then_some(self.now))
    }

    /// Where it stood when [`NEARLY_ALL`] of what is exposed was found.
    pub fn nearly_all(&self) -> Option<CurvePoint> {
        self.nearly_all
    }

    /// Writes the curve as CSV.
    ///
    /// # Errors
    /// What `out` fails with.
    pub fn write(&self, out: impl io::Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record([
            "queries",
            "sample_queries",
            "virtual_seconds",
            "contacts_asked",
            "contacts_answered",
            "infohashes_found",
            "verified",
            "share",
        ])?;
        for point in self.points() {
            csv.write_record([
                point.queries.to_string(),
                point.sample_queries.to_string(),
                format!("{:.3}", point.elapsed.as_secs_f64()),
                point.contacts_asked.to_string(),
                point.contacts_answered.to_string(),
                point.infohashes_found.to_string(),
                point.verified.to_string(),
                format!("{:.6}", point.share),
            ])?;
        }
        csv.flush()
    }

    fn on_sent(&mut self, to: SocketAddr, payload: &[u8]) {
        let Ok(Message { kind: Kind::Query(query), .. }) = Message::parse(payload) else { return };
        if self.now.queries.is_multiple_of(self.stride) {
            self.keep();
        }
        self.now.queries += 1;
        self.now.sample_queries +=
            u64::from(matches!(query.method, Method::SampleInfohashes { .. }));
        self.contacts.entry(to).or_insert_with(|| {
            self.now.contacts_asked += 1;
            Contact::default()
        });
    }

    fn on_received(&mut self, from: SocketAddr, payload: &[u8]) {
        // An address that was not asked has not answered.
        let Some(contact) = self.contacts.get_mut(&from) else { return };
        let Ok(Message { kind: Kind::Reply(reply), .. }) = Message::parse(payload) else { return };
        self.now.contacts_answered += u64::from(!std::mem::replace(&mut contact.answered, true));
        for hash in reply.samples.into_iter().flatten() {
            if let Some(found) = self.exposed.get_mut(&hash) {
                let first = !std::mem::replace(&mut found.sampled, true);
                self.now.infohashes_found += u64::from(first);
            }
        }
        self.now.share = self.now.infohashes_found as f64 / self.exposed.len().max(1) as f64;
        if self.now.share >= NEARLY_ALL {
            self.nearly_all.get_or_insert(self.now);
        }
    }

    fn on_row(&mut self, hash: InfoHash, verdict: &Verdict) {
        if let (Verdict::Verified { .. }, Some(found)) = (verdict, self.exposed.get_mut(&hash)) {
            let first = !std::mem::replace(&mut found.verified, true);
            self.now.verified += u64::from(first);
        }
    }

    fn keep(&mut self) {
        if self.points.len() == POINTS_MAX {
            let mut nth = 0u32;
            self.points.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.stride *= 2;
            if !self.now.queries.is_multiple_of(self.stride) {
                return;
            }
        }
        self.points.push(self.now);
    }
}

impl Observer for Curve {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.now.elapsed = now.since(Instant::START);
        match *event {
            Event::Sent { to, payload } => self.on_sent(to, payload),
            Event::Received { from, payload, forged: false } => self.on_received(from, payload),
            Event::Row { row, .. } => self.on_row(row.infohash, &row.verdict),
            _ => {}
        }
    }

    fn satisfied(&self) -> bool {
        self.goal.is_some_and(|goal| self.now.share >= goal)
    }
}

#[cfg(test)]
mod tests {
    use estudely_core::krpc::{Ask, Envelope, ReplyBody, Want, emit_query, emit_reply};
    use estudely_core::{Id, NodeId};

    use super::*;

    const ENVELOPE: Envelope<'_> =
        Envelope { transaction: b"aa", version: None, read_only: false, external: None };

    fn node(n: u8) -> SocketAddr {
        SocketAddr::from(([20, 0, 0, n], 6881))
    }

    fn ask(curve: &mut Curve, at: u64, n: u8) {
        let mut payload = Vec::new();
        let target = Id([1; 20]);
        emit_query(
            &mut payload,
            &ENVELOPE,
            NodeId([9; 20]),
            &Ask::SampleInfohashes { target },
            Want::default(),
        );
        let event = Event::Sent { to: node(n), payload: &payload };
        curve.observe(Instant::from_micros(at), &event);
    }

    fn answer(curve: &mut Curve, n: u8, samples: &[u8], forged: bool) {
        let samples: Vec<_> = samples.iter().map(|&hash| InfoHash([hash; 20])).collect();
        let mut payload = Vec::new();
        let body = ReplyBody { samples: Some(&samples), ..ReplyBody::new(NodeId([n; 20])) };
        emit_reply(&mut payload, &ENVELOPE, &body);
        let event = Event::Received { from: node(n), payload: &payload, forged };
        curve.observe(Instant::from_micros(9), &event);
    }

    #[test]
    fn only_exposed_infohashes_in_answers_to_the_asker_count_and_once() {
        let mut curve = Curve::new([1, 2, 3, 4].map(|n| InfoHash([n; 20])), Some(0.5));
        ask(&mut curve, 5, 1);
        answer(&mut curve, 1, &[1, 77], false);
        answer(&mut curve, 1, &[1], false);
        answer(&mut curve, 1, &[2], true);
        answer(&mut curve, 2, &[3], false);
        assert_eq!(curve.last().infohashes_found, 1);
        assert!(!curve.satisfied());
        ask(&mut curve, 6, 2);
        answer(&mut curve, 2, &[3], false);
        assert!(curve.satisfied(), "half of four");
        let last = curve.last();
        assert_eq!((last.queries, last.sample_queries), (2, 2));
        assert_eq!((last.contacts_asked, last.contacts_answered), (2, 2));
        assert!((last.sample_queries_per_contact() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn where_nearly_all_was_found_is_remembered_as_it_was() {
        let mut curve = Curve::new([1, 2].map(|n| InfoHash([n; 20])), None);
        ask(&mut curve, 5, 1);
        answer(&mut curve, 1, &[1], false);
        assert_eq!(curve.nearly_all(), None);
        answer(&mut curve, 1, &[2], false);
        ask(&mut curve, 6, 2);
        assert_eq!(curve.nearly_all().map(|point| point.queries), Some(1));
        assert_eq!(curve.last().queries, 2);
    }

    #[test]
    fn points_stay_bounded_and_end_where_the_curve_stands() {
        let mut curve = Curve::new([InfoHash([1; 20])], None);
        for at in 0..5_000 {
            ask(&mut curve, at, (at % 200) as u8);
        }
        let points: Vec<_> = curve.points().collect();
        assert!((POINTS_MAX / 2..=POINTS_MAX + 1).contains(&points.len()), "{}", points.len());
        assert!(points.is_sorted_by(|a, b| a.queries < b.queries));
        assert_eq!(points.last().map(|point| point.queries), Some(5_000));
        let mut text = Vec::new();
        curve.write(&mut text).expect("memory takes it");
        assert_eq!(String::from_utf8(text).expect("text").lines().count(), points.len() + 1);
    }
}
