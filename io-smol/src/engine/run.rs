//! One run of the engine over real sockets: what goes in, what comes out, how it can fail.
//!
//! [`run`] owns the loop; it decides when to move bytes, never what they mean.

use estudely_core::{Family, Mode};

use super::clock::Clock;
use super::descriptors;
use super::dns;
use super::driver::{Driver, World};
use super::tcp::Connections;
use super::udp::Udp;

pub use super::bind::Bind;
pub use super::error::RunError;
pub use super::options::{Bootstrap, Observer, Options};
pub use super::outcome::{BootstrapReport, Ended, Failure, Report, RunFailed, UdpReport};
pub use crate::files::requests::Requests;
pub use crate::files::sink::{RowTimes, Sink, Watched};
pub use estudely_core::Request;

/// Runs the engine until one of the ends in [`Ended`], on the calling thread.
///
/// # Errors
/// See [`RunError`]. Rows settled before the error have been written; a run that fails before any
/// node answered leaves `sink` alone.
pub fn run(
    mut options: Options,
    sink: &mut dyn Sink,
    observer: &mut dyn Observer,
) -> Result<Report, RunFailed> {
    let clock = Clock::start();
    if let Some(limit) = descriptors::raise_descriptor_limit() {
        let wanted = options.crawler.max_connections();
        let allowed = descriptors::connections_within(wanted, limit);
        if allowed < wanted {
            observer.note(&descriptors::clamp_note(wanted, limit, allowed));
            options.crawler = options.crawler.with_connections_within(allowed);
        }
    }
    let udp = bind(&options, observer)?;
    if options.crawler.mode().uses_dht() {
        refuse_useless(&options.bootstrap, udp.each_ref().map(Option::is_some))?;
    }
    let interrupts = options.signals.take();
    let local = udp.each_ref().map(|socket| socket.as_ref().map(|udp| udp.local().ip()));
    let budget = options.crawler.assembly_bytes();
    let connections = Connections::new(clock, local).with_budget(budget);
    let world = World { clock, udp, connections: &connections, interrupts: interrupts.as_ref() };
    let driver = Driver::new(options, world, sink, observer)?;
    async_io::block_on(connections.run(driver.run()))
}

fn bind(options: &Options, observer: &mut dyn Observer) -> Result<[Option<Udp>; 2], RunError> {
    let mut udp = [None, None];
    for bind in &options.bind {
        let mut bind = *bind;
        if options.crawler.mode() == Mode::Direct {
            // Nothing will be sent: the socket only proves that the address is ours to dial from.
            bind.addr.set_port(0);
        }
        let (socket, note) = Udp::bind(bind)?;
        if let Some(note) = note {
            observer.note(&note);
        }
        if let Some(socket) = socket {
            let place = socket.family().index();
            udp[place] = Some(socket);
        }
    }
    Ok(udp)
}

/// An error if none of these nodes can be asked, whatever the network does.
fn refuse_useless(bootstrap: &[Bootstrap], families: [bool; 2]) -> Result<(), RunError> {
    let mut first = None;
    for node in bootstrap {
        match dns::literal(&node.host, node.port) {
            Some(addr) if !families[Family::of(addr).index()] => {
                first.get_or_insert(addr);
            }
            _ => return Ok(()),
        }
    }
    match first {
        Some(node) => Err(RunError::BootstrapFamilyOff { node }),
        None => Ok(()),
    }
}
