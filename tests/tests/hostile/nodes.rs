//! DHT nodes, one honest, each of the others with a trick of its own.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use estudely_core::krpc::{Kind, Message, Method};

/// Longest answer that a crawler with a buffer of 2 048 bytes receives whole, about.
const CONTACTS_MAX: usize = 70;

/// An infohash of the honest node's sample.
#[derive(Clone, Debug)]
pub(crate) struct Exposed {
    pub(crate) infohash: [u8; 20],
    pub(crate) peers: Vec<SocketAddr>,
}

/// What a node does with a query.
#[derive(Clone, Debug)]
pub(crate) enum Trick {
    /// Answers it.
    Honest(Vec<Exposed>),
    /// Answers it once so much time has passed, and is silent before.
    HonestAfter(Duration, Vec<Exposed>),
    /// Answers it once nothing is left of this count, and is silent before.
    HonestAtZero(Arc<AtomicUsize>, Vec<Exposed>),
    /// Answers with these datagrams, a few at a time, all nodes in turn: as they are, and as answers
    /// to what was asked.
    Replays(Arc<Recorded>),
    /// Nests lists a thousand deep, open ones and closed ones.
    NestsDeeply,
    /// Answers with 64 KiB.
    SendsHugeDatagrams,
    /// Answers another transaction.
    MixesUpTransactions,
    /// Answers from another port.
    AnswersFromElsewhere,
    /// Samples of 67 bytes.
    SamplesOddLength,
    /// A thousand samples.
    SamplesThousand,
    /// This instead of an interval.
    SaysInterval(&'static str),
    /// Names itself and the asker.
    NamesItself,
    /// Names addresses that no host can own, and private ones.
    NamesMartians,
    /// Claims the asker's own id.
    ClaimsOurId,
    /// Names strangers that do not exist, other ones each time.
    NamesStrangers,
    /// Asks back instead of answering.
    AsksBack,
    /// Refuses.
    Refuses,
    /// Answers, ten times over.
    Repeats,
    /// Answers with half an answer.
    Tears,
}

/// Datagrams for [`Trick::Replays`], and how many were sent.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) datagrams: Vec<Vec<u8>>,
    pub(crate) sent: AtomicUsize,
}

/// What the tricks that say something else say of their interval.
const INTERVAL: &str = "8:intervali600e";

/// How many of them answer one query.
const REPLAYED_AT_ONCE: usize = 24;

impl Trick {
    /// One of each that is not honest, but for [`Trick::NamesStrangers`].
    pub(crate) fn hostile() -> impl Iterator<Item = Self> {
        [
            Self::NestsDeeply,
            Self::SendsHugeDatagrams,
            Self::MixesUpTransactions,
            Self::AnswersFromElsewhere,
            Self::SamplesOddLength,
            Self::SamplesThousand,
            Self::SaysInterval("i-5e"),
            Self::SaysInterval("i999999999999999999e"),
            Self::SaysInterval("5:never"),
            Self::NamesItself,
            Self::NamesMartians,
            Self::ClaimsOurId,
            Self::AsksBack,
            Self::Refuses,
            Self::Repeats,
            Self::Tears,
        ]
        .into_iter()
    }
}

impl Trick {
    /// What `node`, whose trick it is, sends back where that follows from the query alone.
    fn datagrams(&self, node: &Node, asked: &Asked<'_>) -> Vec<Vec<u8>> {
        let (t, id) = (asked.transaction, node.id);
        let fake = fake_samples(id[0], 3);
        let answer = |body: &[u8]| reply(t, id, body);
        match self {
            Self::NestsDeeply => {
                let deep = |end: &str| format!("1:x{}{}", "l".repeat(900), end.repeat(900));
                ["e", ""].map(|end| answer(deep(end).as_bytes())).into()
            }
            Self::SendsHugeDatagrams => {
                vec![answer(&[b"1:x65000:".to_vec(), vec![b'x'; 65_000]].concat())]
            }
            Self::MixesUpTransactions => {
                let other: Vec<u8> = t.iter().map(|byte| byte ^ 0x55).collect();
                let (shorter, longer) = (t[..t.len() - 1].to_vec(), [t, b"x"].concat());
                [other, shorter, longer].map(|t| reply(&t, id, &sampled(&fake, INTERVAL))).into()
            }
            Self::SamplesOddLength => {
                vec![answer(&sampled(&[&fake[..], b"seven b"].concat(), INTERVAL))]
            }
            Self::SamplesThousand => {
                let many = fake_samples(id[0], 1_000);
                [&many[..], &many[..80 * 20]].map(|some| answer(&sampled(some, INTERVAL))).into()
            }
            Self::SaysInterval(value) => {
                vec![answer(&sampled(&fake, &format!("8:interval{value}")))]
            }
            Self::NamesItself => {
                let nodes = [compact(id, node.own), compact([9; 20], asked.from)].concat();
                vec![answer(&body("", &nodes, b""))]
            }
            Self::NamesMartians => vec![answer(&body("", &martians(), b""))],
            Self::ClaimsOurId => vec![reply(t, asked.id, &sampled(&fake, INTERVAL))],
            Self::AsksBack => vec![back_question(t, id)],
            Self::Refuses => {
                vec![[&b"d1:eli202e6:refusee"[..], &transaction(t), b"1:y1:ee"].concat()]
            }
            Self::Repeats => vec![answer(&sampled(b"", INTERVAL)); 10],
            Self::Tears => {
                let whole = answer(&sampled(&fake, INTERVAL));
                vec![whole[..whole.len() * 2 / 3].to_vec()]
            }
            // These need more than the query: a clock, a memory, or another socket.
            Self::Honest(_)
            | Self::HonestAfter(..)
            | Self::HonestAtZero(..)
            | Self::Replays(_)
            | Self::NamesStrangers
            | Self::AnswersFromElsewhere => Vec::new(),
        }
    }
}

/// A node on a socket of its own.
#[derive(Debug)]
pub(crate) struct Node {
    socket: UdpSocket,
    elsewhere: UdpSocket,
    own: SocketAddr,
    id: [u8; 20],
    trick: Trick,
    strangers: u32,
    born: Instant,
}

/// A query as far as nodes need it.
struct Asked<'a> {
    transaction: &'a [u8],
    id: [u8; 20],
    from: SocketAddr,
    infohash: Option<[u8; 20]>,
    is_sample: bool,
}

impl Node {
    /// Serves on that address and any port, until the process ends.
    pub(crate) fn serve(ip: Ipv4Addr, trick: Trick) -> SocketAddr {
        let bind = || UdpSocket::bind((ip, 0)).expect("a socket on loopback");
        let socket = bind();
        let own = socket.local_addr().expect("its address");
        // Spread over the keyspace.
        let id = [ip.octets()[3].wrapping_mul(37); 20];
        let mut node =
            Self { socket, elsewhere: bind(), own, id, trick, strangers: 0, born: Instant::now() };
        thread::spawn(move || node.run());
        own
    }

    fn run(&mut self) {
        let mut buf = [0; 2_048];
        loop {
            // Our own datagrams to a crawler that ended come back as errors.
            let Ok((len, from)) = self.socket.recv_from(&mut buf) else { continue };
            let Ok(message) = Message::parse(&buf[..len]) else { continue };
            let Kind::Query(query) = message.kind else { continue };
            let infohash = match query.method {
                Method::GetPeers { info_hash, .. } => Some(info_hash.0),
                _ => None,
            };
            let is_sample = matches!(query.method, Method::SampleInfohashes { .. });
            let transaction = message.transaction;
            self.react(&Asked { transaction, id: query.id.0, from, infohash, is_sample });
        }
    }

    fn react(&mut self, asked: &Asked<'_>) {
        match &self.trick {
            Trick::Honest(exposed) => self.answer_honestly(asked, exposed),
            Trick::HonestAfter(delay, exposed) => {
                if self.born.elapsed() >= *delay {
                    self.answer_honestly(asked, exposed);
                }
            }
            Trick::HonestAtZero(left, exposed) => {
                if left.load(Ordering::Relaxed) == 0 {
                    self.answer_honestly(asked, exposed);
                }
            }
            Trick::Replays(recorded) => self.replay(asked, recorded),
            Trick::NamesStrangers => {
                let nodes = self.fresh_strangers();
                self.send(asked, &reply(asked.transaction, self.id, &body("", &nodes, b"")));
            }
            Trick::AnswersFromElsewhere => {
                let fake = fake_samples(self.id[0], 3);
                let answer = reply(asked.transaction, self.id, &sampled(&fake, INTERVAL));
                let _ = self.elsewhere.send_to(&answer, asked.from);
            }
            trick => trick.datagrams(self, asked).iter().for_each(|lie| self.send(asked, lie)),
        }
    }

    fn answer_honestly(&self, asked: &Asked<'_>, exposed: &[Exposed]) {
        self.send(asked, &reply(asked.transaction, self.id, &honest_body(exposed, asked)));
    }

    fn replay(&self, asked: &Asked<'_>, recorded: &Recorded) {
        let all = &recorded.datagrams;
        for _ in 0..REPLAYED_AT_ONCE {
            let next = recorded.sent.fetch_add(1, Ordering::Relaxed);
            let datagram = &all[next % all.len()];
            self.send(asked, datagram);
            if let Some(answer) = as_answer(datagram, asked.transaction) {
                self.send(asked, &answer);
            }
        }
    }

    fn send(&self, asked: &Asked<'_>, bytes: &[u8]) {
        // The crawler may be gone.
        let _ = self.socket.send_to(bytes, asked.from);
    }

    /// As many as fit into an answer, at loopback addresses where nobody listens.
    fn fresh_strangers(&mut self) -> Vec<u8> {
        let mut nodes = Vec::new();
        for _ in 0..CONTACTS_MAX {
            self.strangers += 1;
            let [_, a, b, c] = self.strangers.wrapping_mul(0x9e37_79b1).to_be_bytes();
            let mut id = [c; 20];
            id[..2].copy_from_slice(&[a, b]);
            let [_, _, x, y] = self.strangers.to_be_bytes();
            let addr = SocketAddr::from(([127, 255, self.id[0], x], 20_000 + u16::from(y)));
            nodes.extend(compact(id, addr));
        }
        nodes
    }
}

/// A recorded datagram with this transaction id. `None` if it has none, or names addresses beyond
/// loopback even after the usual ones were rewritten: nothing may leave this machine.
fn as_answer(datagram: &[u8], t: &[u8]) -> Option<Vec<u8>> {
    let theirs = Message::parse(datagram).ok()?.transaction;
    let at = theirs.as_ptr() as usize - datagram.as_ptr() as usize;
    let before = at.checked_sub(format!("{}:", theirs.len()).len())?;
    let length = format!("{}:", t.len());
    let mut answer =
        [&datagram[..before], length.as_bytes(), t, &datagram[at + theirs.len()..]].concat();
    for (key, first, stride) in [(&b"5:nodes"[..], 20, 26), (b"6:valuesl", 2, 8)] {
        let Some(start) = answer.windows(key.len()).position(|window| window == key) else {
            continue;
        };
        let mut place = start + key.len();
        if stride == 26 {
            place += answer[place..].iter().position(|byte| *byte == b':')? + 1;
        }
        while answer.get(place..place + stride).is_some() {
            answer[place + first] = 127;
            place += stride;
        }
    }
    let message = Message::parse(&answer).ok()?;
    if let Kind::Reply(reply) = message.kind {
        let mut named = reply.nodes.map(|node| node.addr).chain(reply.values);
        named.all(|addr| addr.ip().is_loopback()).then_some(answer.clone())
    } else {
        Some(answer.clone())
    }
}

fn honest_body(exposed: &[Exposed], asked: &Asked<'_>) -> Vec<u8> {
    if asked.is_sample {
        let samples: Vec<u8> = exposed.iter().flat_map(|one| one.infohash).collect();
        return body("8:intervali21600e", b"", &samples);
    }
    let Some(infohash) = asked.infohash else { return Vec::new() };
    let known = exposed.iter().find(|one| one.infohash == infohash);
    let values = known.into_iter().flat_map(|one| &one.peers);
    let values: Vec<u8> =
        values.flat_map(|peer| [b"6:".to_vec(), compact_peer(*peer)].concat()).collect();
    [&b"6:valuesl"[..], &values, b"e"].concat()
}

/// The sorted entries of an answer that are not empty.
fn body(interval: &str, nodes: &[u8], samples: &[u8]) -> Vec<u8> {
    let mut body = interval.as_bytes().to_vec();
    if !nodes.is_empty() {
        body.extend(format!("5:nodes{}:", nodes.len()).bytes().chain(nodes.iter().copied()));
    }
    if !interval.is_empty() {
        body.extend(format!("7:samples{}:", samples.len()).bytes().chain(samples.iter().copied()));
    }
    body
}

fn sampled(samples: &[u8], interval: &str) -> Vec<u8> {
    body(interval, b"", samples)
}

fn reply(t: &[u8], id: [u8; 20], body: &[u8]) -> Vec<u8> {
    [&b"d1:rd2:id20:"[..], &id, body, b"e", &transaction(t), b"1:y1:re"].concat()
}

fn back_question(t: &[u8], id: [u8; 20]) -> Vec<u8> {
    [&b"d1:ad2:id20:"[..], &id, b"e1:q4:ping", &transaction(t), b"1:y1:qe"].concat()
}

fn transaction(t: &[u8]) -> Vec<u8> {
    [format!("1:t{}:", t.len()).as_bytes(), t].concat()
}

fn compact_peer(addr: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(addr) = addr else { return Vec::new() };
    [&addr.ip().octets()[..], &addr.port().to_be_bytes()].concat()
}

fn compact(id: [u8; 20], addr: SocketAddr) -> Vec<u8> {
    [&id[..], &compact_peer(addr)].concat()
}

/// Infohashes that exist nowhere.
fn fake_samples(salt: u8, count: u16) -> Vec<u8> {
    (0..count)
        .flat_map(|n| {
            let mut hash = [salt; 20];
            hash[..2].copy_from_slice(&n.to_be_bytes());
            hash
        })
        .collect()
}

fn martians() -> Vec<u8> {
    let addresses = [
        ([0, 0, 0, 0], 6_881),
        ([127, 0, 0, 1], 0),
        ([224, 0, 0, 251], 5_353),
        ([255, 255, 255, 255], 6_881),
        ([240, 1, 2, 3], 6_881),
    ];
    let contacts = addresses.into_iter().zip(1_u8..);
    contacts
        .flat_map(|((ip, port), n)| compact([n; 20], SocketAddrV4::new(ip.into(), port).into()))
        .collect()
}
