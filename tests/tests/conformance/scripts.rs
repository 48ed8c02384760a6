//! Who talks to whom, how, and what comes of it over a perfect line.

use std::time::Duration;

use estudely_core::internal::exchange::{Attempt, Pipeline, Progress};
use estudely_core::{Exchange, Family, Instant, Outcome, PeerFault, Seed, Transport};
use estudely_sim::peer::{Peer, talk};
use estudely_sim::scenario::Scenario;
use estudely_sim::universe::Universe;
use estudely_sim::vice::PeerVice;
use estudely_sim::world::World;

/// Largest info dictionary: three pieces.
const METADATA_MAX: u32 = 45_000;
/// Honest peers: enough for every kind of manners.
const HONEST: u32 = 16;
/// Peers that play each vice, each in a form of its own.
const OF_EACH_VICE: u32 = 6;
/// In what parts a peer's bytes are written: odd ones, a segment's worth, whole messages.
const PARTS: [usize; 3] = [61, 1_448, usize::MAX];
/// A storm of megabytes comes in parts of at least this.
const STORM_PART: usize = 8 * 1024;

/// The world that all peers are of.
pub(crate) struct Stage(Universe);

/// One conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// The peer's number.
    pub(crate) peer: u32,
    pub(crate) vice: Option<PeerVice>,
    pub(crate) pipeline: Pipeline,
    /// Most bytes that the peer writes at once.
    pub(crate) part: usize,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) result: Result<(), PeerFault>,
    pub(crate) progress: Progress,
    pub(crate) metadata: Vec<u8>,
    /// All that the fetcher wrote, as far as the peer stayed to hear it.
    pub(crate) heard: Vec<u8>,
    /// From the start of the exchange to its end.
    pub(crate) took: Duration,
}

/// What comes of a conversation over a perfect line.
#[derive(Debug)]
pub(crate) struct Measure {
    pub(crate) ending: Ending,
    /// All that the fetcher would have written had it never ended.
    pub(crate) appended: Vec<u8>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let mut scenario = Scenario::calm(11);
        scenario.nodes = 10;
        scenario.torrents = 60;
        scenario.metadata_max = METADATA_MAX;
        Self(Universe::build(&scenario).expect("a world"))
    }

    pub(crate) fn world(&self) -> &World {
        self.0.world(Family::V4).expect("the only one")
    }

    /// The true info dictionary of the script's torrent.
    pub(crate) fn info(&self, script: &Script) -> Vec<u8> {
        self.world().torrent(self.world().peer(script.peer).torrent).info
    }

    /// The fetcher's side.
    pub(crate) fn exchange(&self, now: Instant, script: &Script) -> Exchange {
        let hash = self.world().key(self.world().peer(script.peer).torrent);
        let attempt = Attempt { transport: Transport::Tcp, pipeline: script.pipeline };
        Exchange::new(now, hash, attempt, None, Seed::from_u64(u64::from(script.peer)))
    }

    /// The peer's side.
    pub(crate) fn peer(&self, now: Instant, script: &Script) -> Peer {
        Peer::with_vice(self.world(), now, script.peer, script.vice)
    }

    /// Over a perfect line in virtual time.
    pub(crate) fn perfectly(&self, script: &Script) -> Measure {
        let now = Instant::START;
        let (mut peer, mut exchange) = (self.peer(now, script), self.exchange(now, script));
        let talk = talk(self.world(), now, &mut peer, &mut exchange, (script.part, b""));
        Measure { ending: Ending::new(talk.outcome, talk.heard), appended: talk.asked }
    }
}

impl Script {
    /// Honest manners and every vice, over several peers, in every kind of parts.
    pub(crate) fn all(stage: &Stage) -> Vec<Self> {
        let roles = (0..HONEST).map(|peer| (peer, None)).chain(
            PeerVice::ALL
                .iter()
                .flat_map(|vice| (0..OF_EACH_VICE).map(move |peer| (peer, Some(*vice)))),
        );
        assert!(stage.world().peer_count() >= HONEST);
        let mut scripts = Vec::new();
        for (peer, vice) in roles {
            for part in PARTS {
                let storm = vice == Some(PeerVice::MessageStorm);
                let part = if storm { part.max(STORM_PART) } else { part };
                scripts.push(Self { peer, vice, pipeline: Pipeline::All, part });
            }
            scripts.push(Self { peer, vice, pipeline: Pipeline::OneByOne, part: PARTS[1] });
        }
        scripts
    }
}

impl Ending {
    pub(crate) fn new(outcome: Outcome, heard: Vec<u8>) -> Self {
        let (result, metadata) = match outcome.result {
            Ok(fetched) => (Ok(()), fetched.metadata.into_raw().into_vec()),
            Err(fault) => (Err(fault), Vec::new()),
        };
        let took = outcome.timings.ended.since(outcome.timings.started);
        Self { result, progress: outcome.progress, metadata, heard, took }
    }
}
