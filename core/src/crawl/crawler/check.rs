//! What must agree between the parts of a crawl, asserted: for tests, simulation and fuzzing. Each
//! part asserts what it alone knows; here stands what two of them know of the same thing.

use super::Crawler;
use crate::base::addr::Family;
use crate::state::Journal;

impl Crawler {
    /// Asserts every invariant that can be seen from here.
    pub fn check(&self) {
        self.networks.iter().flatten().for_each(|network| network.check());
        self.admission.check();
        self.dialer.check();
        self.check_streams();
        self.jobs.check();
        self.rows.check();
        self.journal.iter().for_each(Journal::check);
        self.check_walks();
        self.check_dials();
        self.check_infohashes();
        self.check_queries();
        let dials = self.dialer.iter().map(|dial| dial.reserve);
        self.standing.check(self.jobs.reserves().chain(dials));
    }

    /// Bytes of metadata kept between connections, and of rows that nobody has taken.
    pub fn bytes_held(&self) -> [usize; 2] {
        [self.jobs.bytes_kept(), self.rows.bytes_held()]
    }

    /// Jobs and walks.
    fn check_walks(&self) {
        let mut open = 0;
        for (family, network) in Family::ALL.into_iter().zip(&self.networks) {
            for (walk, job) in network.iter().flat_map(|network| network.walks.iter()) {
                self.jobs.check_walk(job, family, walk);
                open += usize::from(self.jobs.is_open(job));
            }
        }
        assert_eq!(self.jobs.walks_open(), open, "a job knows only walks that are under way");
    }

    /// Jobs, connections and counters.
    fn check_dials(&self) {
        let mut open = 0;
        for dial in self.dialer.iter() {
            self.jobs.check_dial(dial.job, dial.to);
            open += usize::from(self.jobs.is_open(dial.job));
        }
        assert_eq!(
            self.jobs.dials_open(),
            open,
            "a job tries only peers to which a connection is open"
        );
        for (job, latest) in self.jobs.latest_dials() {
            let dial = self.dialer.get(latest);
            let own = dial.is_none_or(|dial| dial.job == job);
            assert!(own, "the connection that a job began last is its own");
        }
        let stats = &self.stats;
        let ended = stats.faults.iter().sum::<u64>() + stats.delivered;
        assert_eq!(stats.dialled, ended + self.dialer.open_count() as u64, "every dial ends once");
    }

    /// Streams and connections.
    fn check_streams(&self) {
        self.streams.check();
        let of_dials = self.dialer.keys().filter(|peer| self.streams.has_stream(*peer)).count();
        assert_eq!(self.streams.len(), of_dials, "a stream is that of an open connection");
    }

    /// Admission, jobs, outage and counters.
    fn check_infohashes(&self) {
        assert!(
            self.outage.is_open() || !self.jobs.has_held(),
            "jobs are held only while there is suspicion that the network is gone"
        );
        let unsettled = self.jobs.first_rounds() + self.admission.pending();
        assert_eq!(
            self.stats.infohashes_new,
            self.stats.settled + unsettled as u64,
            "what is taken on waits, is under way or is settled"
        );
        for hash in self.jobs.hashes() {
            assert!(self.admission.knows(hash), "an infohash under way was taken on");
            // So the saved state says each thing of an infohash once.
            assert!(!self.admission.keeps(hash), "an infohash under way waits nowhere else");
        }
    }

    /// Queries and counters.
    fn check_queries(&self) {
        let networks = || self.networks.iter().flatten();
        let open: u64 = networks().map(|network| network.endpoint.open_count() as u64).sum();
        let replies: u64 = networks().map(|network| network.replies).sum();
        let stats = &self.stats;
        let answers = stats.answered + stats.refused + stats.late;
        assert_eq!(replies, answers, "answers are counted by family too");
        assert!(stats.late <= stats.expired, "only what has timed out is late");
        let ended = stats.answered + stats.refused + stats.expired;
        assert_eq!(stats.queries(), ended + open, "queries balance");
    }
}
