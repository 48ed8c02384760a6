//! How a stream fails.

use std::fmt;

/// Why a stream ended without being closed by its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No SYN was answered before the deadline (29.8).
    ConnectTimeout,
    /// A SYN was answered by a RESET (29.9).
    Refused,
    /// The peer reset the connection (29.9).
    Reset,
    /// What was written was not acknowledged, however often it was sent (29.7).
    DeliveryTimeout,
}

impl Fault {
    /// Every fault, in order.
    pub const ALL: [Self; 4] =
        [Self::ConnectTimeout, Self::Refused, Self::Reset, Self::DeliveryTimeout];

    /// The word that outputs and logs use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ConnectTimeout => "connect-timeout",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::DeliveryTimeout => "delivery-timeout",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::error::Error for Fault {}
