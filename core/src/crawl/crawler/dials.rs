//! The ends of connections: what each says about the peer, its address, the network and us.

use super::Crawler;
use crate::base::fault::PeerFault;
use crate::base::time::Duration;
use crate::crawl::attempts::{Blame, Circumstances, Failure};
use crate::crawl::dialer::OpenDial;
use crate::limits::DIAL_COST;
use crate::peer::exchange::{Fetched, Outcome, Progress, Transport};

impl Crawler {
    pub(super) fn finish_dial(&mut self, dial: OpenDial, mut outcome: Outcome) {
        let too_much = |fetched: &Fetched| !self.rows.have_room_for(fetched);
        if outcome.result.as_ref().is_ok_and(too_much) {
            // Rows are not taken: the peer, to whom nothing of that is due, is asked once more.
            outcome.result = Err(PeerFault::Pressure);
        }
        self.count_progress(&outcome);
        self.dialer.learn(self.now, dial.to, &outcome);
        let fault = match outcome.result {
            Ok(fetched) => {
                self.sign_of_life();
                self.stats.delivered += 1;
                self.dialer.on_relief();
                self.settle_reserve(&dial, Duration::ZERO);
                return self.settle_fetched(dial, fetched, outcome.transport);
            }
            Err(fault) => fault,
        };
        if fault == PeerFault::Refused {
            self.sign_of_life();
        }
        self.count_fault(fault);
        if self.shut_down || fault == PeerFault::Aborted {
            // Cut off, not failed: the infohash is new to the next run.
            self.settle_reserve(&dial, Duration::ZERO);
            return self.jobs.on_dial_broken_off(dial.job, dial.to);
        }
        self.dial_failed(dial, fault, outcome);
    }

    fn dial_failed(&mut self, dial: OpenDial, fault: PeerFault, outcome: Outcome) {
        let failure = Failure::of(&outcome, fault);
        let around = Circumstances {
            cut_off: self.outage.is_suspected(self.now),
            held_up: !self.rows.have_room(),
            crowded: dial.crowded,
        };
        if failure.is_shortage() {
            self.dialer.on_pressure(self.now);
        } else {
            self.dialer.on_relief();
        }
        if failure.is_hang_up(around) {
            self.dialer.serialise(dial.to);
        }
        let blame = failure.blame(around);
        self.charge_dial(&dial, fault, blame, &outcome);
        let namer = dial.reserve.namer.or(dial.reserve.sponsor);
        let of = (namer, &self.standing);
        self.jobs.on_dial_failed(self.now, (dial.job, dial.to), &failure, blame, outcome, of);
        self.carry_out();
    }

    /// Charges a dial that came to nothing to whom its reserve was taken from, unless that says
    /// something about us or the network only.
    fn charge_dial(&mut self, dial: &OpenDial, fault: PeerFault, blame: Blame, outcome: &Outcome) {
        let took = outcome.timings.ended.since(outcome.timings.started);
        // What was still open when another peer had served proves nothing.
        let is_theirs =
            self.jobs.is_open(dial.job) && (fault == PeerFault::Yielded || blame == Blame::Peer);
        let cost = if is_theirs { took + DIAL_COST } else { Duration::ZERO };
        self.settle_reserve(dial, cost);
        // The sponsor has paid; what was spent for the job is to be paid back if it is verified.
        let _ = self.jobs.spend(dial.job, cost);
    }

    /// A dial is over and has cost so much: what its payers named moves up or down.
    fn settle_reserve(&mut self, dial: &OpenDial, cost: Duration) {
        self.standing.settle(dial.reserve, cost);
        dial.reserve.payers().for_each(|payer| self.on_eased(payer));
    }

    fn count_progress(&mut self, outcome: &Outcome) {
        let reached = |step| u64::from(outcome.progress >= step);
        self.stats.connected += reached(Progress::Connected);
        self.stats.handshaken += reached(Progress::Handshaken);
        self.stats.offering_metadata += reached(Progress::Offered);
        self.stats.complete += reached(Progress::Complete);
        let stats = &mut self.stats;
        let [connected, handshaken, complete] = match outcome.transport {
            Transport::Tcp => {
                [&mut stats.tcp_connected, &mut stats.tcp_handshaken, &mut stats.tcp_complete]
            }
            Transport::TcpEncrypted => {
                [&mut stats.mse_connected, &mut stats.mse_handshaken, &mut stats.mse_complete]
            }
            Transport::Utp => {
                [&mut stats.utp_connected, &mut stats.utp_handshaken, &mut stats.utp_complete]
            }
            Transport::UtpEncrypted => [
                &mut stats.utp_mse_connected,
                &mut stats.utp_mse_handshaken,
                &mut stats.utp_mse_complete,
            ],
        };
        *connected += reached(Progress::Connected);
        *handshaken += reached(Progress::Handshaken);
        *complete += reached(Progress::Complete);
    }

    /// Counts a connection that begins.
    pub(super) fn count_dial(&mut self, transport: Transport) {
        self.stats.dialled += 1;
        match transport {
            Transport::Tcp => self.stats.tcp_dialled += 1,
            Transport::TcpEncrypted => self.stats.mse_dialled += 1,
            Transport::Utp => self.stats.utp_dialled += 1,
            Transport::UtpEncrypted => self.stats.utp_mse_dialled += 1,
        }
    }
}
