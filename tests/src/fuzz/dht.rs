//! The DHT's books: open queries and the routing table, against models too naive to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use estudely_core::internal::endpoint::{Endpoint, Silence, Timing};
use estudely_core::internal::table::{Insertion, K, LOW_BUCKETS, Refusal, Table};
use estudely_core::keyed::Rng;
use estudely_core::krpc::{Ask, Kind, Message};
use estudely_core::limits::{BAD_AFTER, EXPIRE_AFTER, LATE_UNTIL, STALL_AFTER};
use estudely_core::{AddressPolicy, Contact, Duration, Family, Id, Instant, NodeId, Seed};

use super::input::Input;

/// Queries that the model keeps open at most; the real cap is tested elsewhere.
const OPEN: usize = 64;

/// A query: whom it went to, under which transaction, when, and whether it stalled.
type Asked = (SocketAddr, Vec<u8>, Instant, bool);

/// Queries asked, replies right, wrong, late and invented: each query ends exactly once, by the
/// right reply or in time; and one that ended in time is answered at most once, while it may be.
pub(super) fn endpoint(data: &[u8]) {
    let mut input = Input(data);
    let mut books = Books::new();
    while !input.is_empty() {
        match input.u8() % 8 {
            0..=1 if books.open.len() < OPEN => books.ask(&mut input),
            3 => books.answer(input.u8()),
            2 => books.answer_late(input.u8()),
            4 => books.guess(&mut input),
            5 => books.hear_anything(&mut input),
            _ => {
                books.now = books.now + Duration::from_millis(u64::from(input.u8()) * 20);
                books.expire();
            }
        }
        assert_eq!(books.endpoint.open_count(), books.open.len());
        books.endpoint.check();
    }
}

/// The endpoint and a naive book of its queries.
struct Books {
    endpoint: Endpoint<u32>,
    now: Instant,
    /// Every query still open, by number.
    open: BTreeMap<u32, Asked>,
    /// Every query that has failed and may still be answered.
    late: BTreeMap<u32, Asked>,
    /// What was ever asked under which transaction, ended or not.
    past: Vec<(SocketAddr, Vec<u8>)>,
    asked: u32,
}

impl Books {
    fn new() -> Self {
        let rng = Rng::new(Seed::from_u64(1));
        Self {
            endpoint: Endpoint::new(Family::V4, NodeId([7; 20]), rng),
            now: Instant::START,
            open: BTreeMap::new(),
            late: BTreeMap::new(),
            past: Vec::new(),
            asked: 0,
        }
    }

    fn ask(&mut self, input: &mut Input<'_>) {
        let to = addr(input);
        let mut out = Vec::new();
        let target = Id(input.bytes());
        self.endpoint.ask(self.now, to, &Ask::FindNode { target }, self.asked, &mut out);
        let message = Message::parse(&out).expect("we write what can be read");
        assert!(message.read_only && matches!(message.kind, Kind::Query(_)));
        self.past.push((to, message.transaction.to_vec()));
        self.open.insert(self.asked, (to, message.transaction.to_vec(), self.now, false));
        self.asked += 1;
    }

    /// The right reply to some query.
    fn answer(&mut self, which: u8) {
        let Some((&number, (to, transaction, ..))) = nth(&self.open, which) else { return };
        let (to, transaction) = (*to, transaction.clone());
        assert_eq!(self.take(to, &transaction), Some((number, Timing::InTime)));
        assert_eq!(self.take(to, &transaction), None, "once");
        self.open.remove(&number);
    }

    /// The right reply to some query that has failed.
    fn answer_late(&mut self, which: u8) {
        let Some((&number, (to, transaction, ..))) = nth(&self.late, which) else { return };
        let (to, transaction) = (*to, transaction.clone());
        assert_eq!(self.take(to, &transaction), Some((number, Timing::Late)));
        assert_eq!(self.take(to, &transaction), None, "once");
        self.late.remove(&number);
    }

    fn take(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<(u32, Timing)> {
        let taken = self.endpoint.take(self.now, from, transaction)?;
        Some((taken.owner, taken.timing()))
    }

    /// Right transaction, wrong address; right address, transaction changed by a bit.
    fn guess(&mut self, input: &mut Input<'_>) {
        let some = nth(&self.open, input.u8());
        let Some((to, transaction)) = some.map(|(_, (to, t, ..))| (*to, t.clone())) else { return };
        let other = SocketAddr::new(to.ip(), to.port() ^ (1 + u16::from(input.u8())));
        assert_eq!(self.take(other, &transaction), None, "from elsewhere");
        let mut wrong = transaction.clone();
        let at = usize::from(input.u8()) % wrong.len();
        wrong[at] ^= 1 << (input.u8() % 8);
        let mut all = self.open.values().chain(self.late.values());
        let names_another = all.any(|(addr, t, ..)| *addr == to && *t == wrong);
        assert!(names_another || self.take(to, &wrong).is_none(), "a guess");
    }

    /// Anything; or something that was right once: late, twice, or from elsewhere.
    fn hear_anything(&mut self, input: &mut Input<'_>) {
        let mut from = addr(input);
        let length = input.u8() % 12;
        let mut transaction = input.slice(usize::from(length)).to_vec();
        if length >= 10
            && let Some((to, once)) = nth_of(&self.past, transaction.first().copied())
        {
            transaction.clone_from(once);
            if length == 10 {
                from = *to;
            }
        }
        let named = |book: &BTreeMap<u32, Asked>| {
            let right = book.iter().find(|(_, (to, t, ..))| *to == from && *t == transaction);
            right.map(|(number, _)| *number)
        };
        let in_time = named(&self.open).map(|number| (number, Timing::InTime));
        let right = in_time.or(named(&self.late).map(|number| (number, Timing::Late)));
        assert_eq!(self.take(from, &transaction), right);
        if let Some((number, _)) = right {
            self.open.remove(&number);
            self.late.remove(&number);
        }
    }

    /// Everything that is due is reported, nothing else is.
    fn expire(&mut self) {
        let Self { endpoint, now, open, late, .. } = self;
        let now = *now;
        while let Some((silence, query)) = endpoint.poll_silence(now) {
            let (to, _, sent, stalled) = open.get_mut(&query.owner).expect("an open query");
            assert_eq!((*to, *sent), (query.to, query.sent));
            match silence {
                Silence::Stalled => {
                    assert!(!std::mem::replace(stalled, true) && now >= *sent + STALL_AFTER);
                }
                Silence::Expired => {
                    assert!(now >= *sent + EXPIRE_AFTER);
                    late.extend(open.remove(&query.owner).map(|asked| (query.owner, asked)));
                }
            }
        }
        assert!(open.values().all(|(_, _, sent, _)| now < *sent + EXPIRE_AFTER));
        let stalled = |(_, _, sent, stalled): &Asked| *stalled == (now >= *sent + STALL_AFTER);
        assert!(open.values().all(stalled));
        late.retain(|_, (_, _, sent, _)| now < *sent + LATE_UNTIL);
        assert!(endpoint.poll_timeout().is_none_or(|due| due > now));
    }
}

fn nth_of<T>(list: &[T], choice: Option<u8>) -> Option<&T> {
    list.get(usize::from(choice?) % list.len().max(1))
}

fn nth<V>(map: &BTreeMap<u32, V>, choice: u8) -> Option<(&u32, &V)> {
    map.iter().nth(usize::from(choice) % map.len().max(1))
}

/// One of a few thousand addresses, so that they meet again.
fn addr(input: &mut Input<'_>) -> SocketAddr {
    let [a, b] = input.bytes();
    SocketAddr::from(([20 + a % 4, a, b % 16, 1 + b / 128], 6_881 + u16::from(b % 2)))
}

/// Answers, queries, failures, probes and moves: nobody enters or leaves without a reason, and
/// `closest` is compared with sorting everything.
pub(super) fn table(data: &[u8]) {
    let mut input = Input(data);
    let policy =
        if input.u8() & 1 == 0 { AddressPolicy::Public } else { AddressPolicy::AllowPrivate };
    let mut own = NodeId(input.bytes());
    let mut table = Table::new(own, Family::V4, policy);
    let mut now = Instant::START;
    let mut history = History::default();
    while !input.is_empty() {
        let before = Before::of(&table, policy);
        match input.u8() % 16 {
            0..=7 => {
                let answers = contact(&mut input, own);
                let admission = table.on_reply(now, answers);
                history.replied(answers);
                before.reply(&table, answers, admission);
            }
            8 => {
                table.on_query(now, contact(&mut input, own));
                before.nobody_moved(&table);
            }
            9 | 10 => {
                let known = table.contacts().nth(usize::from(input.u8()) % table.len().max(1));
                let unlucky = known.unwrap_or_else(|| contact(&mut input, own));
                table.on_failure(now, unlucky);
                history.failed(unlucky);
                before.left(&table, |gone| gone == unlucky && history.is_bad(gone));
            }
            11 => {
                let ours = addr(&mut input);
                table.exclude(now, ours);
                before.left(&table, |gone| gone.addr == ours);
            }
            12 => {
                own = NodeId(input.bytes());
                table.rebase(now, own);
                before.rebased(&table);
            }
            13 => {
                let mut probes = 0;
                while table.poll_probe(now).is_some() {
                    probes += 1;
                    assert!(probes <= 100, "at most one probe a bucket and turn");
                }
                assert!(table.poll_timeout().is_none_or(|due| due > now), "drained");
                before.nobody_moved(&table);
            }
            _ => now = now + Duration::from_secs(u64::from(input.u16() % 2_000)),
        }
        table.check();
        assert!(table.contacts().all(|held| history.answers(held)), "who answers is handed out");
        compare(&table, Id(input.bytes()));
    }
}

/// Who answered, and how often in a row each has failed since.
#[derive(Default)]
struct History(BTreeMap<Contact, u8>);

impl History {
    fn replied(&mut self, c: Contact) {
        self.0.insert(c, 0);
    }

    fn failed(&mut self, c: Contact) {
        if let Some(failures) = self.0.get_mut(&c) {
            *failures = failures.saturating_add(1);
        }
    }

    fn is_bad(&self, c: Contact) -> bool {
        self.0.get(&c).is_some_and(|failures| *failures >= BAD_AFTER)
    }

    fn answers(&self, c: Contact) -> bool {
        self.0.contains_key(&c) && !self.is_bad(c)
    }
}

/// A table as it stood before something happened to it.
struct Before {
    policy: AddressPolicy,
    own: NodeId,
    depth: usize,
    /// Who could be handed out.
    live: BTreeSet<Contact>,
    /// Everybody known, bad ones and those that wait included.
    all: Vec<Contact>,
}

impl Before {
    fn of(table: &Table, policy: AddressPolicy) -> Self {
        let (live, all) = (table.contacts().collect(), table.saved());
        Self { policy, own: table.own(), depth: table.depth(), live, all }
    }

    fn nobody_moved(&self, table: &Table) {
        self.left(table, |_| false);
        assert_eq!(self.live.len(), table.contacts().count(), "nobody enters unasked");
    }

    /// Whoever is gone had a reason; whoever came had answered and waited.
    fn left(&self, table: &Table, reason: impl Fn(Contact) -> bool) {
        let after: BTreeSet<Contact> = table.contacts().collect();
        for gone in self.live.difference(&after) {
            assert!(reason(*gone), "{gone:?} left without a reason");
        }
        for came in after.difference(&self.live) {
            assert!(self.all.contains(came), "{came:?} did not wait");
        }
    }

    /// A node answered: it displaces what stood at its own address and nobody else, except that the
    /// bucket around our own id may have been parted into smaller ones, all full. It finds a place
    /// where there is one.
    fn reply(&self, table: &Table, c: Contact, admission: Insertion) {
        let after: BTreeSet<Contact> = table.contacts().collect();
        assert!(table.depth() >= self.depth, "buckets part, and do not join");
        for gone in self.live.difference(&after) {
            let parted = table.depth() > self.depth && is_full(table, &after, gone.id);
            assert!(gone.addr == c.addr || parted, "{gone:?} makes way for {c:?}");
        }
        for came in after.difference(&self.live) {
            assert!(*came == c || self.all.contains(came), "{came:?} did not wait");
        }
        match admission {
            Insertion::Inserted => assert!(after.contains(&c)),
            Insertion::Updated => assert!(self.all.contains(&c)),
            Insertion::Cached => assert!(is_full(table, &after, c.id), "no wait beside room"),
            Insertion::Refused(_) => assert!(!after.contains(&c) && !self.live.contains(&c)),
        }
        let inside = |other: &&Contact| {
            place(self.own, other.id, self.depth) == place(self.own, c.id, self.depth)
        };
        let room =
            self.live.iter().filter(inside).count() < limit(place(self.own, c.id, self.depth));
        let welcome = c.id != self.own && !self.all.iter().any(|other| self.rivals(*other, c));
        if room && welcome && admission != Insertion::Inserted {
            // The one other reason: an endpoint that was excluded.
            let expected = Insertion::Refused(Refusal::Address);
            assert_eq!(admission, expected, "{c:?} finds no place");
        }
    }

    /// Whether two nodes may not both be held, or not in one bucket.
    fn rivals(&self, a: Contact, b: Contact) -> bool {
        let near = match self.policy {
            AddressPolicy::AllowPrivate => a.addr == b.addr,
            AddressPolicy::Public => {
                a.addr.ip() == b.addr.ip()
                    || place(self.own, a.id, self.depth) == place(self.own, b.id, self.depth)
                        && same_24(a, b)
            }
        };
        near || a.id == b.id
    }

    /// Our own id moved: who is gone is our namesake, or found a full bucket or a neighbour there.
    fn rebased(&self, table: &Table) {
        let after: BTreeSet<Contact> = table.contacts().collect();
        let beside = |gone: Contact| {
            let mut others = after.iter().filter(|other| same_24(**other, gone));
            let bucket = |id| place(table.own(), id, table.depth());
            self.policy == AddressPolicy::Public
                && others.any(|other| bucket(other.id) == bucket(gone.id))
        };
        self.left(table, |gone| {
            gone.id == table.own() || is_full(table, &after, gone.id) || beside(gone)
        });
    }
}

fn same_24(a: Contact, b: Contact) -> bool {
    let net = |c: Contact| match c.addr {
        SocketAddr::V4(addr) => addr.ip().octets()[..3].to_vec(),
        SocketAddr::V6(addr) => addr.ip().octets()[..8].to_vec(),
    };
    net(a) == net(b)
}

/// Where `id` stands among so many buckets: by the leading bits that it shares with our own.
fn place(own: NodeId, id: NodeId, depth: usize) -> usize {
    let equal = own.0.iter().zip(id.0).take_while(|(a, b)| **a == *b).count();
    let bits = own.0.iter().zip(id.0).nth(equal).map_or(0, |(a, b)| (a ^ b).leading_zeros());
    (8 * equal + bits as usize).min(depth - 1)
}

/// How many nodes the bucket at `place` has room for.
fn limit(place: usize) -> usize {
    LOW_BUCKETS.get(place).copied().unwrap_or(K)
}

/// Whether the bucket of `id` holds as many nodes of `after` as it has room for.
fn is_full(table: &Table, after: &BTreeSet<Contact>, id: NodeId) -> bool {
    let bucket = |id| place(table.own(), id, table.depth());
    let held = after.iter().filter(|other| bucket(other.id) == bucket(id)).count();
    held >= limit(bucket(id))
}

fn compare(table: &Table, target: Id) {
    let mut sorted: Vec<Contact> = table.contacts().collect();
    sorted.sort_by_key(|contact| contact.id.id().distance(target));
    sorted.truncate(K);
    let mut nearest = Table::NO_CONTACTS;
    let count = table.closest(target, &mut nearest);
    assert_eq!(&nearest[..count], sorted, "the nearest, exactly");
}

/// A contact at a chosen depth from our own id, so that deep buckets are reached.
fn contact(input: &mut Input<'_>, own: NodeId) -> Contact {
    let bits = u32::from(input.u8() % 161);
    let mut id = own.id();
    if bits < 160 {
        let mut tail = Id::ZERO;
        tail.0[18..].copy_from_slice(&input.bytes::<2>());
        id = id.with_suffix(bits, tail);
        id.0[bits as usize / 8] ^=
            if id.bit(bits) == own.id().bit(bits) { 0x80 >> (bits % 8) } else { 0 };
    }
    Contact { id: NodeId(id.0), addr: addr(input) }
}
