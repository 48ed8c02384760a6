//! A socket as it is asked for.

use std::net::SocketAddr;

/// A UDP socket to bind; TCP dials of its family leave from its address when that is specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Address and port; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// Whether the user named it: then a busy port is an error. An unnamed one gives way to any
    /// free port, and an unnamed family that the machine lacks is left out, each with a note.
    pub named: bool,
}
