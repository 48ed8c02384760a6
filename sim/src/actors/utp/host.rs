//! A peer that takes uTP, sans-IO: what it hears and says in datagrams, as it does on streams of
//! TCP.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use estudely_core::{Duration, Instant};

use super::listener::{EndKey, Listener};
use super::{Manners, Standing};
use crate::actors::door::AnyPeer;
use crate::actors::peer::Step;
use crate::world::dht::World;

/// How long a connection that is over is remembered, for a last acknowledgement that was lost.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What a host has to say: where to, and what.
pub type Said = Vec<(SocketAddr, Vec<u8>)>;

/// One peer's accepting end of all its connections.
#[derive(Debug)]
pub struct Host {
    number: u32,
    listener: Listener,
    talks: BTreeMap<EndKey, Talk>,
}

/// One connection.
#[derive(Debug)]
enum Talk {
    /// Both ends may speak.
    Open(Box<AnyPeer>),
    /// It is over, and forgotten then.
    Over(Instant),
}

impl Host {
    /// Peer `number` of the world, without a connection.
    pub fn new(world: &World, number: u32) -> Self {
        let mut dice = world.dice("utp manners", u64::from(number));
        let manners = Manners {
            first: dice.u16(..),
            segment: [500, 1_000, 1_382][dice.usize(..3)],
            window: [64 << 10, 1 << 20][dice.usize(..2)],
            clock: dice.u32(..),
        };
        Self { number, listener: Listener::new(manners, dice.bool()), talks: BTreeMap::new() }
    }

    /// Takes a datagram, and says what is to be sent now.
    pub fn hear(&mut self, world: &World, now: Instant, from: SocketAddr, datagram: &[u8]) -> Said {
        if let Some(key) = self.listener.handle_datagram(now, from, datagram) {
            let mut out = Vec::new();
            let number = self.number;
            let talk = self.talks.entry(key).or_insert_with(|| {
                let mut peer = AnyPeer::new(world, now, number);
                // Nobody ends a connection before a word was said.
                let _ = peer.handle_connected(world, now, &mut out);
                Talk::Open(Box::new(peer))
            });
            let mut step = Step::Continue;
            if let Some(end) = self.listener.end(key) {
                let heard = end.take_received();
                if let Talk::Open(peer) = talk
                    && !heard.is_empty()
                {
                    step = peer.handle_bytes(world, now, &heard, &mut out);
                }
                end.write(&out);
            }
            self.conclude(now, key, step);
        }
        self.say(now)
    }

    /// Takes note of the time, and says what is to be sent now.
    pub fn wake(&mut self, world: &World, now: Instant) -> Said {
        self.listener.handle_timeout(now);
        for key in self.talks.keys().copied().collect::<Vec<_>>() {
            match self.talks.get_mut(&key) {
                Some(Talk::Open(peer)) => {
                    let (mut out, mut step) = (Vec::new(), Step::Continue);
                    if peer.poll_timeout() <= now {
                        step = peer.handle_timeout(world, now, &mut out);
                    }
                    if let Some(end) = self.listener.end(key) {
                        end.write(&out);
                    }
                    self.conclude(now, key, step);
                }
                Some(Talk::Over(at)) if *at <= now => self.forget(key),
                Some(Talk::Over(_)) | None => {}
            }
        }
        self.say(now)
    }

    /// What the peer wants of a connection, or the other end did to it.
    fn conclude(&mut self, now: Instant, key: EndKey, step: Step) {
        let standing = self.listener.end(key).map(|end| {
            if step == Step::Close || end.is_finished() {
                end.close();
            }
            end.standing()
        });
        match (step, standing) {
            (Step::Reset, _) | (_, None | Some(Standing::Reset | Standing::Gone)) => {
                self.forget(key);
            }
            (Step::Close, _) | (_, Some(Standing::Closed)) => {
                if let Some(talk @ Talk::Open(_)) = self.talks.get_mut(&key) {
                    *talk = Talk::Over(now + REMEMBERED);
                }
            }
            (Step::Continue, Some(Standing::Open)) => {}
        }
    }

    fn forget(&mut self, key: EndKey) {
        self.talks.remove(&key);
        self.listener.forget(key);
    }

    fn say(&mut self, now: Instant) -> Said {
        std::iter::from_fn(|| self.listener.poll_transmit(now)).collect()
    }

    /// When [`Host::wake`] is due; never for one without connections.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.talks.values().map(|talk| match talk {
            Talk::Open(peer) => peer.poll_timeout(),
            Talk::Over(at) => *at,
        });
        due.chain(self.listener.poll_timeout()).min()
    }

    /// Connections, those remembered included.
    pub fn len(&self) -> usize {
        self.talks.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.talks.is_empty()
    }
}
