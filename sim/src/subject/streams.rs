//! Connections over uTP: bytes between the streams that the core keeps and their exchanges, moved
//! as the adapter moves them.

use estudely_core::{Instant, PeerFault, StreamState};

use super::Subject;
use crate::net::event::{Conn, Event, Observer};

/// Bytes read at a time.
const PART: usize = 4_096;

impl<O: Observer> Subject<O> {
    /// Moves what there is to move; of how many connections.
    pub(super) fn carry(&mut self, now: Instant) -> usize {
        let Some(core) = self.advance(now) else { return 0 };
        let Some(live) = &mut self.live else { return 0 };
        while let Some(peer) = live.crawler.poll_stream() {
            live.exchanges.stir(peer);
        }
        let stirred = live.exchanges.take_stirred();
        for conn in &stirred {
            self.carry_one(now, core, *conn);
        }
        stirred.len()
    }

    fn carry_one(&mut self, now: Instant, core: Instant, conn: Conn) {
        let Some(live) = &mut self.live else { return };
        let Some((peer, was_connected)) = live.exchanges.stream(conn) else { return };
        match live.crawler.stream_state(peer) {
            None | Some(StreamState::Connecting) => return,
            Some(StreamState::Failed(fault)) if !was_connected => {
                let refused = fault == PeerFault::Refused;
                self.observer.observe(now, &Event::Lost { conn, refused });
                if let Some((peer, outcome)) = live.exchanges.fail(core, conn, fault) {
                    self.end(now, conn, peer, outcome, false);
                }
                return;
            }
            Some(_) if !was_connected => self.connect(now, core, conn),
            Some(_) => {}
        }
        let mut part = [0; PART];
        loop {
            let Some(live) = &mut self.live else { return };
            live.exchanges.flush(core, conn, &mut live.crawler);
            let read = live.crawler.read_stream(core, peer, &mut part);
            if read == 0 {
                break;
            }
            if !self.read(now, core, conn, &part[..read]) {
                return;
            }
        }
        let Some(live) = &mut self.live else { return };
        // Only now: its end counts once everything before it was read.
        let state = live.crawler.stream_state(peer);
        if matches!(state, Some(StreamState::Ended | StreamState::Failed(_))) {
            self.observer.observe(now, &Event::Lost { conn, refused: false });
            if let Some((peer, outcome)) = live.exchanges.handle_lost(core, conn, false) {
                self.end(now, conn, peer, outcome, false);
            }
        }
    }
}
