//! The harness on turmoil: the crawler under test is a host with real (virtual) sockets and tasks,
//! and the virtual internet lives behind a few gateway hosts.
//!
//! One host for each node is out of the question: turmoil looks at every pair of hosts at every
//! step. So datagrams and streams carry the virtual addresses in frames (see `frame`), the core
//! sees public-looking addresses of both families, and turmoil's own network neither delays nor
//! loses anything: [`crate::net::internet`] does. Crashes are turmoil's. The same seed gives the
//! same run in every process: a fixed epoch, `biased` selects, tasks in joined sets, no maps of the
//! standard library, no clock but the simulation's. A panic in any task fails the run with its own
//! message.

mod adapter;
mod frame;
mod host;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use estudely_core::Instant;
use tokio::sync::Notify;
use tokio::task::JoinError;
use turmoil::net::UdpSocket;
use turmoil::{Builder, Sim};

use crate::net::event::Observer;
use crate::net::internet::{Net, Shard};
use crate::subject::script::{Act, Script};
use crate::subject::{Ending, Subject};
use crate::world::scenario::Scenario;
use crate::world::universe::Universe;

/// Gateway hosts: enough to have datagrams overtake each other between hosts, few enough for
/// turmoil's cost for each pair.
pub(crate) const GATEWAYS: u32 = 4;
/// The crawler's host. Never seen by the core.
const CRAWLER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Where every host listens: below the ports that turmoil gives to streams.
const PORT: u16 = 9;
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// The longest datagram that UDP carries, and its header.
const DATAGRAM_MAX: usize = (1 << 16) + 64;
/// Bytes read from a stream at once.
const READ_MAX: usize = 16 * 1024;
/// Datagrams and segments that may wait at a host: beyond, turmoil drops or panics.
const CAPACITY: usize = 65_536;
/// Up to so many nodes and seconds a step is a millisecond, beyond ten: a step costs the same
/// whether or not anything happens in it.
const FINE_STEPS: (u32, u32) = (20_000, 1_800);

/// What the simulation's outside shares with the crawler's host.
struct Stage<O> {
    subject: RefCell<Subject<O>>,
    shut_down: Notify,
}

/// Runs the scenario to its end, or until the observer is satisfied.
///
/// # Panics
/// With whatever a task panicked with, and if turmoil itself fails.
pub fn run<O: Observer + 'static>(
    scenario: &Scenario,
    universe: Rc<Universe>,
    observer: O,
) -> (O, Ending) {
    let stage = Rc::new(Stage {
        subject: RefCell::new(Subject::new(scenario, &universe, observer)),
        shut_down: Notify::new(),
    });
    let nets: Vec<_> = (0..GATEWAYS)
        .map(|index| Net::new(universe.clone(), scenario, Shard { index, count: GATEWAYS }))
        .map(|net| Rc::new(RefCell::new(net)))
        .collect();
    let mut sim = simulation(scenario);
    for (net, index) in nets.iter().cloned().zip(0..) {
        sim.host(IpAddr::V4(gateway(index)), move || host::serve(net.clone()));
    }
    let (at, satisfied) = play(&mut sim, &stage, &nets, Script::of(scenario));
    // Hosts drop their sockets while their world still exists.
    drop(sim);
    let stage = Rc::into_inner(stage).expect("the hosts are gone");
    stage.subject.into_inner().finish(at, satisfied)
}

fn simulation(scenario: &Scenario) -> Sim<'static> {
    let size = (scenario.nodes, scenario.broken_s.saturating_add(scenario.healed_s));
    let tick = if size.0 > FINE_STEPS.0 || size.1 > FINE_STEPS.1 { 10 } else { 1 };
    Builder::new()
        .epoch(UNIX_EPOCH)
        .rng_seed(scenario.seed)
        .simulation_duration(Duration::MAX)
        .tick_duration(Duration::from_millis(tick))
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::ZERO)
        .fail_rate(0.0)
        .udp_capacity(CAPACITY)
        .tcp_capacity(CAPACITY)
        .ephemeral_ports(1024..=u16::MAX)
        .build()
}

/// Steps through the script; when the run ended, and whether because the observer was satisfied.
fn play<O: Observer + 'static>(
    sim: &mut Sim<'static>,
    stage: &Rc<Stage<O>>,
    nets: &[Rc<RefCell<Net>>],
    mut script: Script,
) -> (Instant, bool) {
    let mut satisfied = false;
    let mut begun = false;
    loop {
        let now = Instant::START + sim.elapsed();
        while let Some(act) = script.poll(now) {
            match act {
                Act::Start if begun => sim.bounce(CRAWLER),
                Act::Start => {
                    begun = true;
                    let stage = stage.clone();
                    sim.host(IpAddr::V4(CRAWLER), move || adapter::play(stage.clone()));
                }
                Act::Kill => {
                    sim.crash(CRAWLER);
                    stage.subject.borrow_mut().kill(now);
                    nets.iter().for_each(|net| net.borrow_mut().close_all(now));
                }
                Act::Heal => stage.subject.borrow_mut().note_healed(now),
                Act::ShutDown if sim.is_host_running(CRAWLER) => stage.shut_down.notify_one(),
                Act::ShutDown => stage.subject.borrow_mut().shut_down(now),
                Act::End => return (now, satisfied),
            }
        }
        if let Err(error) = sim.step() {
            fail(error);
        }
        if stage.subject.borrow().has_ended() {
            script.run_ended(Instant::START + sim.elapsed());
        }
        if !satisfied && stage.subject.borrow().observer().satisfied() {
            satisfied = true;
            script.cut_short(Instant::START + sim.elapsed());
        }
    }
}

/// Ends the run as the task did that failed.
fn fail(error: Box<dyn std::error::Error>) -> ! {
    match error.downcast::<JoinError>().map(|error| error.try_into_panic()) {
        Ok(Ok(panic)) => std::panic::resume_unwind(panic),
        Ok(Err(error)) => panic!("a task of the simulation ended: {error}"),
        Err(error) => panic!("the simulation failed: {error}"),
    }
}

const fn gateway(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, index + 1)
}

/// The gateway that answers for a virtual address.
fn gateway_of(to: SocketAddr) -> SocketAddr {
    let shard = Shard::of(to.ip(), GATEWAYS);
    SocketAddr::new(IpAddr::V4(gateway(shard.index as u8)), PORT)
}

async fn bind_udp() -> std::io::Result<UdpSocket> {
    UdpSocket::bind((ANY, PORT)).await
}

/// The simulation's time.
fn now() -> Instant {
    Instant::START + turmoil::sim_elapsed().expect("asked on a host of the simulation")
}

/// Sleeps until the simulation's time is `due`; for ever if nothing is.
async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep(due.since(now())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
