//! Whole runs over loopback, without a DHT: requests in, rows out, and every way to end.

mod peers;

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use estudely_core::{
    AddressPolicy, Config, InfoHash, Mode, Row, Seed, Stats, TransportPolicy, Verdict,
};
use estudely_io_smol::run::{
    Bind, Bootstrap, Ended, Observer, Options, Report, Request, Requests, RowTimes, RunError, Sink,
    Watched, run,
};
use sha1::{Digest, Sha1};

use peers::Peer;

/// Keeps rows, or fails as told.
#[derive(Default)]
struct Rows {
    kept: Vec<(InfoHash, bool)>,
    flushed: bool,
    fails: Option<io::ErrorKind>,
    room: Option<usize>,
    begun: bool,
    /// Takes nothing while this is in the future, and is never flushed before.
    stuck_until: Option<Instant>,
    /// At the end its reader is found to have left, and then the disk to be full.
    ends_badly: bool,
    looks: u32,
}

impl Rows {
    fn poll_free(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(until) = self.stuck_until.filter(|until| Instant::now() < *until) else {
            return Poll::Ready(Ok(()));
        };
        let waker = cx.waker().clone();
        std::thread::spawn(move || {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            waker.wake();
        });
        Poll::Pending
    }
}

impl Sink for Rows {
    fn begin(&mut self) -> io::Result<()> {
        self.begun = true;
        Ok(())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_free(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_free(cx)
    }

    fn write(&mut self, row: &Row, times: RowTimes) -> io::Result<()> {
        assert!(self.begun && times.found <= times.settled);
        if let Some(kind) = self.fails {
            return Err(kind.into());
        }
        if !self.is_full() {
            let verified = matches!(row.verdict, Verdict::Verified { .. });
            self.kept.push((row.infohash, verified));
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.kept.len() as u64
    }

    fn watch(&mut self) -> Watched {
        self.looks += 1;
        let left = self.ends_badly && self.looks > 1;
        let error = left.then(|| io::ErrorKind::BrokenPipe.into());
        Watched { error, ..Watched::default() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = true;
        if self.ends_badly {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.room.is_some_and(|room| self.kept.len() >= room)
    }
}

#[derive(Default)]
struct Watch {
    ticks: u32,
    notes: Vec<String>,
}

impl Observer for Watch {
    fn tick(&mut self, _: Duration, _: &Stats) {
        self.ticks += 1;
    }

    fn note(&mut self, line: &str) {
        self.notes.push(line.to_owned());
    }
}

fn options(mode: Mode, requests: Requests) -> Options {
    let crawler = Config::new(mode).with_policy(AddressPolicy::AllowPrivate);
    // Nobody here takes uTP: to try it would only take time.
    let crawler = crawler.with_transports(TransportPolicy::Tcp);
    let crawler = crawler.with_rate(None).and_then(|config| config.with_new_flows(None));
    let crawler = crawler.and_then(|config| config.with_max_connections(100)).expect("in range");
    Options {
        crawler,
        seed: Seed::from_u64(7),
        bind: vec![Bind { addr: SocketAddr::from(([127, 0, 0, 1], 0)), named: true }],
        bootstrap: Vec::new(),
        overall_timeout: None,
        until_idle: None,
        state: None,
        known: Vec::new(),
        requests,
        signals: None,
    }
}

/// Requests for the metadata that the peers of this file serve.
fn requests(peer: &Peer, count: usize) -> Requests {
    let hash = InfoHash(Sha1::digest(peers::info()).into());
    let request = Request::new(hash, [peer.addr()]);
    Requests::new(std::iter::repeat_n(request, count))
}

fn direct(options: Options, rows: &mut Rows) -> Result<Report, RunError> {
    run(options, rows, &mut Watch::default()).map_err(|failed| failed.error)
}

#[test]
fn a_request_becomes_a_verified_row_and_ends_the_run() {
    let peer = Peer::start_slow(peers::serve_metadata);
    let mut rows = Rows::default();
    let report = direct(options(Mode::Direct, requests(&peer, 1)), &mut rows).expect("a clean end");
    assert_eq!(report.ended, Ended::RequestsDone);
    assert_eq!(rows.kept, [(InfoHash(Sha1::digest(peers::info()).into()), true)]);
    assert!(rows.flushed);
}

#[test]
fn a_reader_that_left_does_not_hide_that_the_disk_is_full_at_the_end() {
    let peer = Peer::start_slow(peers::serve_metadata);
    let mut rows = Rows { ends_badly: true, ..Rows::default() };
    let ended = direct(options(Mode::Direct, requests(&peer, 1)), &mut rows);
    assert!(rows.flushed);
    match ended {
        Err(RunError::SinkLost(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_that_come_in_their_own_time_are_waited_for() {
    let peer = Peer::start_slow(peers::serve_metadata);
    let (sender, receiver) = async_channel::bounded(1);
    let to = peer.addr();
    let reader = std::thread::spawn(move || {
        let hash = InfoHash(Sha1::digest(peers::info()).into());
        sender.send_blocking(Request::new(hash, [to])).expect("the run listens");
    });
    let mut rows = Rows::default();
    let options = options(Mode::Direct, Requests::stream(receiver));
    assert_eq!(direct(options, &mut rows).expect("a clean end").ended, Ended::RequestsDone);
    assert_eq!(rows.kept.len(), 1);
    reader.join().expect("the reader ends");
}

#[test]
fn the_overall_timeout_is_exact_and_cuts_connections_off() {
    let peer = Peer::start(peers::stay_silent);
    let mut options = options(Mode::Direct, requests(&peer, 1));
    options.overall_timeout = Some(Duration::from_secs(2));
    let (mut rows, begun) = (Rows::default(), Instant::now());
    let mut watch = Watch::default();
    let report = run(options, &mut rows, &mut watch).expect("a clean end");
    let elapsed = begun.elapsed();
    assert_eq!(report.ended, Ended::Timeout);
    assert!((1_000..3_000).contains(&elapsed.as_millis()), "{elapsed:?}");
    assert!(watch.ticks >= 1);
}

#[test]
fn an_idle_run_ends_when_asked_to() {
    let mut options = options(Mode::Crawl, Requests::none());
    options.bootstrap = vec![literal(peers::closed_port())];
    options.until_idle = Some(Duration::from_millis(300));
    let report = direct(options, &mut Rows::default()).expect("a clean end");
    assert_eq!(report.ended, Ended::Idle);
}

#[test]
fn a_broken_pipe_is_a_clean_end_and_other_losses_are_not() {
    let peer = Peer::start(peers::hang_up);
    let mut rows = Rows { fails: Some(io::ErrorKind::BrokenPipe), ..Rows::default() };
    let report = direct(options(Mode::Direct, requests(&peer, 1)), &mut rows);
    assert_eq!(report.expect("a clean end").ended, Ended::OutputClosed);
    rows.fails = Some(io::ErrorKind::StorageFull);
    let report = direct(options(Mode::Direct, requests(&peer, 1)), &mut rows);
    assert!(matches!(report, Err(RunError::SinkLost(_))));
}

#[test]
fn a_full_output_ends_the_run_cleanly() {
    let peer = Peer::start(peers::hang_up);
    let mut rows = Rows { room: Some(0), ..Rows::default() };
    let mut options = options(Mode::Direct, requests(&peer, 1));
    options.overall_timeout = Some(Duration::from_secs(20));
    let report = direct(options, &mut rows).expect("a clean end");
    assert_eq!(report.ended, Ended::OutputLimit);
}

#[test]
fn a_busy_named_port_fails_before_anything_is_sent() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("a bound socket");
    let mut options = options(Mode::Crawl, Requests::none());
    options.bind = vec![Bind { addr, named: true }];
    let report = direct(options, &mut Rows::default());
    assert!(matches!(report, Err(RunError::BindFailed { addr: named, .. }) if named == addr));
}

#[test]
fn without_an_answer_the_run_fails_within_its_timeout() {
    let mut options = options(Mode::Crawl, Requests::none());
    options.bootstrap = vec![literal(peers::closed_port())];
    options.overall_timeout = Some(Duration::from_secs(2));
    let begun = Instant::now();
    let error = direct(options, &mut Rows::default()).expect_err("nobody answers");
    assert!(
        matches!(error, RunError::NoNodeAnswered { waited, tried: 1, .. } if waited == Duration::from_secs(2)),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn bootstrap_names_that_do_not_resolve_are_named() {
    let mut options = options(Mode::Crawl, Requests::none());
    // The blank makes it no name at all: refused without a question on the network.
    let host = "no such name".to_owned();
    options.bootstrap = vec![Bootstrap { host, port: 6881, router: false }];
    let mut watch = Watch::default();
    let failed = run(options, &mut Rows::default(), &mut watch).expect_err("no address at all");
    let error = failed.error;
    assert!(matches!(error, RunError::NoBootstrapResolved { .. }), "{error}");
    assert!(error.to_string().contains("no such name"));
    assert!(watch.notes.is_empty(), "said once, as the reason: {:?}", watch.notes);
}

#[test]
fn a_run_that_fails_before_any_answer_leaves_the_sink_alone_and_reports_what_it_did() {
    let mut options = options(Mode::Crawl, Requests::none());
    options.bootstrap = vec![literal(peers::closed_port())];
    options.overall_timeout = Some(Duration::from_secs(1));
    let mut rows = Rows::default();
    let failed = run(options, &mut rows, &mut Watch::default()).expect_err("nobody answers");
    let report = failed.report.expect("it asked");
    assert!(!report.ended.is_clean() && report.stats.queries() > 0);
    assert!(!rows.begun);
}

#[test]
fn a_clean_end_without_any_row_has_begun_all_the_same() {
    let mut rows = Rows::default();
    let report = direct(options(Mode::Direct, Requests::new([])), &mut rows).expect("a clean end");
    assert_eq!((report.ended, rows.begun), (Ended::RequestsDone, true));
}

#[test]
fn a_sink_that_takes_nothing_keeps_neither_the_timeout_nor_its_last_rows() {
    let peer = Peer::start(peers::hang_up);
    let mut options = options(Mode::Direct, requests(&peer, 1));
    options.overall_timeout = Some(Duration::from_secs(1));
    let begun = Instant::now();
    let stuck_until = Some(begun + Duration::from_secs(60));
    let mut rows = Rows { stuck_until, ..Rows::default() };
    let report = direct(options, &mut rows).expect("a clean end");
    assert_eq!(report.ended, Ended::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(2));
    // Files beside the one that is stuck must have it.
    assert_eq!(rows.kept.len(), 1);
}

#[test]
fn a_slow_sink_is_waited_for_when_nothing_presses() {
    let peer = Peer::start(peers::hang_up);
    let until = Instant::now() + Duration::from_millis(400);
    let mut rows = Rows { stuck_until: Some(until), ..Rows::default() };
    let report = direct(options(Mode::Direct, requests(&peer, 1)), &mut rows).expect("a clean end");
    assert_eq!((report.ended, rows.kept.len()), (Ended::RequestsDone, 1));
    assert!(Instant::now() >= until);
}

#[test]
fn without_names_and_peers_a_fetch_ends_at_once_and_with_peers_it_goes_on() {
    let peer = Peer::start(peers::serve_metadata);
    for (peers, ends) in [(Vec::new(), false), (vec![peer.addr()], true)] {
        let hash = InfoHash(Sha1::digest(peers::info()).into());
        let mut options = options(Mode::Fetch, Requests::new([Request::new(hash, peers)]));
        let host = "no such name".to_owned();
        options.bootstrap = vec![Bootstrap { host, port: 6881, router: false }];
        let begun = Instant::now();
        match direct(options, &mut Rows::default()) {
            Ok(report) => assert!(ends && report.stats.verified == 1),
            Err(error) => {
                assert!(!ends && matches!(error, RunError::NoBootstrapResolved { .. }), "{error}");
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_fetch_whose_peers_refuse_ends_cleanly_although_no_node_answered() {
    let hash = InfoHash([1; 20]);
    let refusing = SocketAddr::from(([127, 0, 0, 1], 1));
    let request = Request::new(hash, [refusing]);
    let mut options = options(Mode::Fetch, Requests::new([request]));
    options.bootstrap = vec![literal(peers::closed_port())];
    options.overall_timeout = Some(Duration::from_secs(1));
    let report = direct(options, &mut Rows::default()).expect("a clean end");
    assert_eq!(report.ended, Ended::Timeout);
}

#[test]
fn bootstrap_nodes_of_a_family_that_is_off_are_refused_at_once() {
    let mut options = options(Mode::Crawl, Requests::none());
    options.bootstrap = vec![literal("[::1]:5".parse().expect("an address"))];
    let error = direct(options, &mut Rows::default()).expect_err("refused");
    assert!(matches!(error, RunError::BootstrapFamilyOff { .. }), "{error}");
}

fn literal(addr: SocketAddr) -> Bootstrap {
    Bootstrap { host: addr.ip().to_string(), port: addr.port(), router: false }
}
