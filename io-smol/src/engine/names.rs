//! Names of bootstrap nodes on their way to addresses. Which are resolved, and when, the session
//! says.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use estudely_core::Family;
use estudely_core::session::Door;

use super::dns;
use super::options::Bootstrap;

type Resolving = Pin<Box<dyn Future<Output = Resolved>>>;
type Resolved = io::Result<Vec<SocketAddr>>;

/// The bootstrap nodes of a run in the order of their doors, and the names that are being resolved.
pub(super) struct Names {
    list: Vec<Bootstrap>,
    families: [bool; 2],
    /// At most one for each name: the session asks for one at a time.
    resolving: Vec<(usize, Resolving)>,
    done: Vec<(usize, Resolved)>,
}

impl Names {
    /// The nodes that can be reached in these families, and the doors that they are to a session.
    pub(super) fn new(bootstrap: Vec<Bootstrap>, families: [bool; 2]) -> (Self, Vec<Door>) {
        let (mut list, mut doors) = (Vec::new(), Vec::new());
        for node in bootstrap {
            let kind = node.kind();
            doors.push(match dns::literal(&node.host, node.port) {
                Some(addr) if families[Family::of(addr).index()] => Door::Address(addr, kind),
                Some(_) => continue,
                None => Door::Name(kind),
            });
            list.push(node);
        }
        (Self { list, families, resolving: Vec::new(), done: Vec::new() }, doors)
    }

    /// Begins to resolve the name at this place.
    pub(super) fn resolve(&mut self, at: usize) {
        let Some(Bootstrap { host, port, .. }) = self.list.get(at) else { return };
        self.resolving.push((at, Box::pin(dns::resolve(host.clone(), *port, self.families))));
    }

    /// Whether a name is done with: see [`Self::take_done`].
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let done = &mut self.done;
        self.resolving.retain_mut(|(at, resolving)| match resolving.as_mut().poll(cx) {
            Poll::Ready(result) => {
                done.push((*at, result));
                false
            }
            Poll::Pending => true,
        });
        !self.done.is_empty()
    }

    /// Names that are done with, and what came of each.
    pub(super) fn take_done(&mut self) -> Vec<(usize, Resolved)> {
        std::mem::take(&mut self.done)
    }

    /// What a person is told about the name at this place, which does not resolve.
    pub(super) fn warning(&self, at: usize, error: &io::Error) -> Option<String> {
        let Bootstrap { host, port, .. } = self.list.get(at)?;
        Some(format!("--bootstrap {host}:{port}: cannot resolve: {error}"))
    }

    /// The name at this place, without its port.
    pub(super) fn host(&self, at: usize) -> Option<&str> {
        self.list.get(at).map(|node| node.host.as_str())
    }
}

#[cfg(test)]
mod tests {
    use estudely_core::Bootstrap as Kind;

    use super::*;

    fn names(nodes: &[(&str, bool)], families: [bool; 2]) -> (Names, Vec<Door>) {
        let node = |(host, router): &(&str, bool)| Bootstrap {
            host: (*host).to_owned(),
            port: 6881,
            router: *router,
        };
        Names::new(nodes.iter().map(node).collect(), families)
    }

    #[test]
    fn what_cannot_be_reached_is_no_door() {
        let list = [("::1", false), ("127.0.0.1", true), ("example.org", false)];
        let (names, doors) = names(&list, [true, false]);
        let literal = Door::Address(([127, 0, 0, 1], 6881).into(), Kind::Router);
        assert_eq!(doors, [literal, Door::Name(Kind::Node)]);
        assert_eq!(names.host(1), Some("example.org"));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_done_with_and_named() {
        // The blank makes it no name at all: refused without a question on the network.
        let (mut names, _) = names(&[("no such name", false)], [true, true]);
        names.resolve(0);
        smol::block_on(std::future::poll_fn(|cx| match names.poll(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }));
        let done = names.take_done();
        let [(0, Err(error))] = &done[..] else { panic!("{done:?}") };
        let warning = names.warning(0, error).expect("a name");
        assert!(
            warning.starts_with("--bootstrap no such name:6881: cannot resolve: "),
            "{warning}"
        );
    }
}
