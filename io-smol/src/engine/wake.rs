//! Every reason for the loop to run.

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// A turn stopped at one of its bounds: go on without waiting.
    Unfinished,
    /// A deadline of the core, the session, a connection, the state or a socket's pause has come.
    Due,
    /// A socket has datagrams.
    Datagrams,
    /// A socket takes datagrams again.
    Room,
    /// A connection ended, set a deadline before that of the loop, or moved bytes over a stream of
    /// the core.
    Connection,
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// A name was resolved, or is not going to be.
    Name,
    /// A request is there, or the last one was.
    Request,
    /// A write of the state is through.
    State,
    /// An output takes rows again, or has handed all of them on.
    Output,
}

/// The reasons of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wakes(u16);

impl Wakes {
    /// Adds `wake` if `ready`.
    pub(super) fn note(&mut self, wake: Wake, ready: bool) {
        self.0 |= u16::from(ready) << wake as u16;
    }

    /// Whether `wake` is among them.
    pub(super) fn has(self, wake: Wake) -> bool {
        self.0 & (1 << wake as u16) != 0
    }

    /// Whether there is any.
    pub(super) fn any(self) -> bool {
        self.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart() {
        let mut wakes = Wakes::default();
        wakes.note(Wake::Signal, false);
        assert!(!wakes.any());
        wakes.note(Wake::Signal, true);
        wakes.note(Wake::Output, true);
        assert!(wakes.has(Wake::Signal) && wakes.has(Wake::Output) && !wakes.has(Wake::Due));
    }
}
