//! SIGINT, SIGTERM and SIGHUP: the first asks for a clean end, a second SIGINT or SIGTERM ends the
//! process. A SIGHUP behind another signal means nothing: a terminal that goes away sends several,
//! and nobody asks for haste by that. One that the parent has us ignore (`nohup`) stays ignored.
//!
//! They are heard on a thread of their own, so that the second works even while the main thread
//! is stuck in a write. Files stay valid: each block of rows is one write.
//!
//! SIGXFSZ is heard too, and means nothing: a file at the limit of its size (`ulimit -f`) then
//! fails its write like a full disk, in place of ending the process in the middle of a row.

use std::io;
use std::thread;

use async_channel::{Receiver, Sender};
use async_signal::{Signal, Signals};
use smol::future::{self, FutureExt};
use smol::stream::StreamExt;

/// The ear. Dropping it gives the signals no effect until the process handles them otherwise.
#[derive(Debug)]
pub struct Interrupts {
    first: Receiver<()>,
    _alive: Sender<()>,
}

impl Interrupts {
    /// Starts listening.
    ///
    /// # Errors
    /// When the system grants no handler or thread.
    pub fn listen() -> io::Result<Self> {
        let hangup = (!is_hangup_ignored()).then_some(Signal::Hup);
        let mut signals =
            Signals::new([Signal::Int, Signal::Term, Signal::Xfsz].into_iter().chain(hangup))?;
        let (heard, first) = async_channel::bounded(1);
        let (alive, dropped) = async_channel::bounded::<()>(1);
        let listener = async move {
            let mut asked = false;
            while let Some(Ok(signal)) = signals.next().await {
                match wish(signal, asked) {
                    Wish::None => {}
                    Wish::CleanEnd => {
                        asked = true;
                        let _ = heard.try_send(());
                    }
                    Wish::EndNow => std::process::exit(128 + signal as i32),
                }
            }
        };
        let until_dropped = async move {
            let _ = dropped.recv().await;
        };
        // `future::block_on` parks and leaves the sockets to the thread that works on them.
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || future::block_on(listener.or(until_dropped)))?;
        Ok(Self { first, _alive: alive })
    }

    /// The channel on which the first signal appears.
    pub fn first(&self) -> Receiver<()> {
        self.first.clone()
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    CleanEnd,
    EndNow,
}

/// The same, by whether a clean end was asked for before.
fn wish(signal: Signal, asked: bool) -> Wish {
    match signal {
        Signal::Xfsz => Wish::None,
        _ if !asked => Wish::CleanEnd,
        Signal::Hup => Wish::None,
        _ => Wish::EndNow,
    }
}

/// Whether whatever started this process has it ignore SIGHUP.
fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// The same by what the system says of a process: the mask of ignored signals has a bit for each,
/// the lowest for SIGHUP.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_asks_for_a_clean_end_and_no_hangup_is_ever_the_second() {
        for signal in [Signal::Int, Signal::Term, Signal::Hup] {
            assert_eq!(wish(signal, false), Wish::CleanEnd);
            let second = if signal == Signal::Hup { Wish::None } else { Wish::EndNow };
            assert_eq!(wish(signal, true), second);
        }
        assert_eq!([wish(Signal::Xfsz, false), wish(Signal::Xfsz, true)], [Wish::None; 2]);
    }

    #[test]
    fn a_hangup_is_ignored_only_if_the_mask_says_so() {
        let status = |mask: &str| format!("Name:\tcrawl\nSigBlk:\t01\nSigIgn:\t{mask}\n");
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")));
        assert!(!ignores_hangup("SigBlk:\t0000000000000001\n") && !ignores_hangup(""));
    }
}
