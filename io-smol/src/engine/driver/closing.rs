//! The end of a run: what is settled goes out, the state is kept, and all of it is reported.

use estudely_core::session::{Ended, Failure, Output, Phase};
use smol::future;

use super::Driver;
use crate::engine::error::RunError;
use crate::engine::outcome::Report;
use crate::files::sink::worse;
use crate::files::state::Keeper;

impl Driver<'_> {
    /// Lets out what is settled once the connections are cut off, and keeps the state. How the run
    /// ended after all: an output may still be lost.
    pub(super) async fn shut_down(&mut self, ended: Ended) -> Ended {
        // Of a run that nothing came of, nothing is kept.
        let keeps = self.outputs.have_begun();
        // Every clean end leaves outputs that a run has begun, however empty.
        let begun = if ended.is_clean() { self.outputs.begin() } else { Ok(()) };
        self.note_output(self.clock.now(), begun);
        let ended = self.session.ended().unwrap_or(ended);
        while let Phase::ShuttingDown { .. } = self.session.phase() {
            if self.connections.open() == 0 {
                self.session.handle_disconnected(self.clock.now());
            } else {
                future::yield_now().await;
                self.turn_session(self.clock.now());
            }
        }
        self.hand_in_outcomes(self.clock.now());
        self.finish_outputs(ended);
        if let Some(keeper) = &mut self.keeper {
            if keeps {
                let at = self.clock.stamp();
                keeper.finish(at, &mut self.crawler, ended.save_within()).await;
            }
            keeper.notes().for_each(|line| self.observer.note(&line));
        }
        self.observer.tick(self.clock.elapsed(), &self.crawler.stats());
        self.session.ended().unwrap_or(ended)
    }

    /// Gives the outputs what is left. The session hears of them once, and of the worst: a reader
    /// that left must not hide that a file beside it was lost.
    fn finish_outputs(&mut self, ended: Ended) {
        // A file that was cut meanwhile takes no more, and spoils a clean end.
        let watched = self.outputs.watch();
        let before = self.take_watched(self.clock.now(), watched);
        let rows_go_out = ended.lets_rows_out(self.outputs.have_begun());
        let settled = if rows_go_out { self.outputs.write_rest(&mut self.crawler) } else { Ok(()) };
        let flushed = self.outputs.flush();
        // What the state says must be true to what the outputs hold by now.
        let watched = self.outputs.watch_last();
        let after = self.take_watched(self.clock.now(), watched);
        self.outputs.acknowledge(&mut self.crawler);
        match [before, settled, flushed, after].into_iter().fold(Ok(()), worse) {
            Ok(()) => self.session.handle_output(self.clock.now(), Output::Flushed),
            lost => self.note_output(self.clock.now(), lost),
        }
    }

    /// What a failure is called, with what the machine knows of it.
    pub(super) fn error(&mut self, failure: Failure) -> RunError {
        match failure {
            Failure::NoNameResolved => {
                let hosts = self.session.names().filter_map(|at| self.names.host(at));
                RunError::NoBootstrapResolved { names: hosts.map(str::to_owned).collect() }
            }
            Failure::NoNodeAnswered { waited, tried } => {
                let stats = self.crawler.stats();
                RunError::NoNodeAnswered {
                    waited,
                    tried,
                    send_failure: self.sockets.report().last_failure,
                    received: stats.datagrams_received,
                    left_out: stats.hearsay_private,
                }
            }
            Failure::OutputLost => RunError::SinkLost(self.outputs.take_loss()),
        }
    }

    pub(super) fn report(&self, ended: Ended) -> Report {
        Report {
            stats: self.crawler.stats(),
            elapsed: self.clock.elapsed(),
            ended,
            bootstrap: self.session.bootstrap(),
            udp: self.sockets.report(),
            state: self.keeper.as_ref().map(Keeper::kept),
        }
    }
}
