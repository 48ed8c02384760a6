use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use estudely_core::{InfoHash, Request, Verdict};

use super::*;
use crate::world::draw::draw;

/// Notes what a test wants to know of a run, and a hash over every event of it.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) events: u64,
    pub(crate) hash: u64,
    pub(crate) starts: u32,
    pub(crate) restored: u32,
    pub(crate) verified: BTreeMap<InfoHash, u32>,
    /// What is due and not yet verified.
    pub(crate) missing: BTreeSet<InfoHash>,
    ends: bool,
    pub(crate) sent_after_shutdown: u32,
    healed: bool,
    shut_down: bool,
}

impl Notes {
    /// Satisfied once links have healed and all that is due is verified.
    pub(crate) fn until_due(universe: &Universe) -> Self {
        let missing = universe.truth().due().map(|(hash, _)| hash).collect();
        Self { missing, ends: true, ..Self::default() }
    }
}

impl Observer for Notes {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.events += 1;
        let text = format!("{} {event:?}", now.as_micros());
        // Keyed with zeros, hence the same in every process.
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u64(self.hash);
        hasher.write(text.as_bytes());
        self.hash = hasher.finish();
        match event {
            Event::Started { state, .. } => {
                self.starts += 1;
                self.restored += u32::from(state.is_some());
            }
            Event::Healed => self.healed = true,
            Event::ShutDown { .. } => self.shut_down = true,
            Event::Sent { .. } | Event::Dialled { .. } => {
                self.sent_after_shutdown += u32::from(self.shut_down);
            }
            Event::Row { row, .. } if matches!(row.verdict, Verdict::Verified { .. }) => {
                self.missing.remove(&row.infohash);
                *self.verified.entry(row.infohash).or_default() += 1;
            }
            _ => {}
        }
    }

    fn satisfied(&self) -> bool {
        self.ends && self.healed && self.missing.is_empty()
    }
}

const OWN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(81, 2, 3, 4)), 6881);

fn bootstrap() -> SocketAddr {
    SocketAddr::from(([82, 2, 3, 4], 6881))
}

fn subject(scenario: &Scenario) -> Subject<Notes> {
    Subject::at(scenario, [Some(OWN), None], vec![bootstrap()], Notes::default())
}

fn actions(subject: &mut Subject<Notes>, now: Instant) -> Vec<Action> {
    std::iter::from_fn(|| subject.poll(now)).collect()
}

#[test]
fn a_crawler_that_starts_asks_its_bootstrap_node_and_one_that_was_killed_asks_nobody() {
    let mut subject = subject(&Scenario::calm(1));
    assert_eq!(subject.poll_timeout(), None, "before it is started");
    subject.start(Instant::START);
    let first = actions(&mut subject, Instant::START);
    let is_query = |action: &Action| matches!(action, Action::Send { from, to, .. } if *from == OWN && *to == bootstrap());
    assert!(first.iter().all(is_query) && first.len() == 1, "{first:?}");
    let due = subject.poll_timeout().expect("it waits for an answer");
    subject.kill(due);
    assert_eq!(subject.poll_timeout(), None);
    subject.handle_timeout(due);
    subject.handle_datagram(due, bootstrap(), b"de", false);
    assert!(actions(&mut subject, due).is_empty());
    subject.start(due);
    assert_eq!(subject.observer().restored, 1, "with what was saved at its first start");
    assert!(actions(&mut subject, due).iter().any(is_query));
}

#[test]
fn a_timeout_too_early_changes_nothing() {
    let mut subject = subject(&Scenario::calm(1));
    subject.start(Instant::START);
    actions(&mut subject, Instant::START);
    let (due, hash) = (subject.poll_timeout().expect("due"), subject.observer().hash);
    let early = Instant::from_micros(due.as_micros() - 1);
    subject.handle_timeout(early);
    assert_eq!(subject.poll_timeout(), Some(due));
    assert_eq!(subject.observer().hash, hash, "nobody saw anything");
    subject.handle_timeout(due);
    assert_ne!(subject.observer().hash, hash);
    assert!(subject.poll_timeout() > Some(due));
}

#[test]
fn junk_and_slipping_clocks_move_deadlines_only_ahead() {
    for seed in 0..20 {
        let scenario = Scenario { clock_stalls: 8, ..Scenario::calm(seed) };
        let mut subject = subject(&scenario);
        let mut draw = draw(seed, "test", 0);
        let mut now = Instant::START;
        subject.start(now);
        while now < Instant::from_micros(200_000_000) {
            let due = subject.poll_timeout().expect("a crawler without contacts asks again");
            assert!(due > now, "seed {seed}: {due:?} at {now:?}");
            let pause = Duration::from_micros(draw.u64(1..20_000_000));
            if now + pause < due {
                now = now + pause;
                subject.handle_datagram(now, bootstrap(), b"d1:ad2:idi1ee", false);
            } else {
                now = due;
                subject.handle_timeout(now);
            }
            actions(&mut subject, now);
        }
        assert!(subject.turns() > 10);
    }
}

#[test]
fn a_refused_connection_ends_once_and_a_crawler_shut_down_says_nothing_more() {
    let mut subject = subject(&Scenario::calm(1));
    subject.start(Instant::START);
    actions(&mut subject, Instant::START);
    let peer = SocketAddr::from(([83, 2, 3, 4], 6881));
    let crawler = &mut subject.live.as_mut().expect("started").crawler;
    let request = Request::new(InfoHash([7; 20]), [peer]);
    crawler.handle_request(Instant::START, &request).expect("room for one");
    subject.turn(Instant::START, false);
    let dials = actions(&mut subject, Instant::START);
    let conn = Conn(0);
    assert!(dials.contains(&Action::Dial { conn, to: peer }), "{dials:?}");
    let later = Instant::from_micros(50_000);
    subject.handle_lost(later, conn, true);
    assert_eq!(subject.stats().faults.iter().sum::<u64>(), 1);
    subject.handle_lost(later, conn, true);
    subject.handle_bytes(later, conn, b"late");
    assert_eq!(subject.stats().faults.iter().sum::<u64>(), 1);
    actions(&mut subject, later);
    subject.shut_down(later);
    subject.handle_datagram(later, bootstrap(), b"de", false);
    assert!(actions(&mut subject, later).is_empty());
    assert_eq!(subject.poll_timeout(), None);
}
