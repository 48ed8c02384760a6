//! Entering the DHT: literal addresses at once, names as they resolve, again if nobody answers.
//!
//! A run that begins with contacts of an earlier one asks no public router, and resolves none,
//! unless those contacts stay silent.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use estudely_core::{Duration, Family, Instant};

use super::dns;
use super::options::Bootstrap;
use super::outcome::BootstrapReport;

/// How long after a round of resolving the names are asked again, if no node has answered.
pub(super) const RESOLVE_AGAIN: Duration = Duration::from_secs(10);

/// How long contacts of an earlier run have to answer before public routers are asked.
pub(super) const ROUTERS_AFTER: Duration = Duration::from_secs(5);
/// The same when some did answer, and then everybody fell silent.
pub(super) const ROUTERS_AFTER_QUIET: Duration = Duration::from_secs(300);

type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>>>>;

/// The bootstrap nodes of a run, and what became of them.
pub(super) struct Entrance {
    names: Vec<Name>,
    families: [bool; 2],
    /// Every address handed out, and whether it sent us anything.
    tried: BTreeMap<SocketAddr, bool>,
    answered: u32,
    literals: Vec<(SocketAddr, bool)>,
    next_round: Option<Instant>,
    rounds: u32,
    ready: Option<Entry>,
    /// Public routers that are not needed so far.
    held: Vec<Bootstrap>,
    /// Answers of anybody at the last look, and when they last grew.
    answers: u64,
    quiet_since: Instant,
}

struct Name {
    bootstrap: Bootstrap,
    resolving: Option<Resolving>,
    resolved: bool,
}

/// One step of the entrance.
pub(super) enum Entry {
    /// Addresses for the core; `router` as the user or the built-in list said.
    Found { addresses: Vec<SocketAddr>, router: bool },
    /// A name did not resolve; said once for each.
    Failed { line: String },
}

impl Entrance {
    /// `warm`: there are contacts of an earlier run, so that public routers can wait.
    pub(super) fn new(bootstrap: Vec<Bootstrap>, families: [bool; 2], warm: bool) -> Self {
        let (held, now) = bootstrap.into_iter().partition(|node| warm && node.router);
        let mut entrance = Self {
            names: Vec::new(),
            families,
            tried: BTreeMap::new(),
            answered: 0,
            literals: Vec::new(),
            next_round: None,
            rounds: 0,
            ready: None,
            held,
            answers: 0,
            quiet_since: Instant::START,
        };
        entrance.take(now);
        entrance
    }

    fn take(&mut self, bootstrap: Vec<Bootstrap>) {
        for bootstrap in bootstrap {
            match dns::literal(&bootstrap.host, bootstrap.port) {
                Some(addr) if self.families[Family::of(addr).index()] => {
                    self.literals.push((addr, bootstrap.router));
                }
                Some(_) => {}
                None => self.names.push(Name { bootstrap, resolving: None, resolved: false }),
            }
        }
    }

    /// Looks, now and then, at how many queries were answered by anybody: routers that were held
    /// back follow when that grows no more.
    pub(super) fn on_answers(&mut self, now: Instant, answers: u64) {
        if answers > self.answers {
            (self.answers, self.quiet_since) = (answers, now);
        }
        let patience = if self.answers == 0 { ROUTERS_AFTER } else { ROUTERS_AFTER_QUIET };
        if !self.held.is_empty() && now.since(self.quiet_since) >= patience {
            let held = std::mem::take(&mut self.held);
            self.take(held);
            self.rounds = 0;
        }
    }

    /// Starts resolving every name, and again when a round brought no answer.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.rounds > 0 && (self.answered > 0 || self.next_round.is_none_or(|at| now < at)) {
            return;
        }
        self.rounds += 1;
        self.next_round = Some(now + RESOLVE_AGAIN);
        for name in &mut self.names {
            if name.resolving.is_none() {
                let Bootstrap { host, port, .. } = name.bootstrap.clone();
                name.resolving = Some(Box::pin(dns::resolve(host, port, self.families)));
            }
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.answered > 0 || self.names.is_empty() { None } else { self.next_round }
    }

    /// Whether [`Self::poll`] has something; keeps it for then.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> bool {
        if self.ready.is_none()
            && let Poll::Ready(entry) = self.poll(cx)
        {
            self.ready = Some(entry);
        }
        self.ready.is_some()
    }

    /// The next step that is ready.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Entry> {
        if let Some(entry) = self.ready.take() {
            return Poll::Ready(entry);
        }
        if let Some((addr, router)) = self.literals.pop() {
            self.tried.entry(addr).or_default();
            return Poll::Ready(Entry::Found { addresses: vec![addr], router });
        }
        for name in &mut self.names {
            let Some(resolving) = &mut name.resolving else { continue };
            let Poll::Ready(result) = resolving.as_mut().poll(cx) else { continue };
            name.resolving = None;
            match result {
                Ok(addresses) => {
                    name.resolved = true;
                    for addr in &addresses {
                        self.tried.entry(*addr).or_default();
                    }
                    let router = name.bootstrap.router;
                    return Poll::Ready(Entry::Found { addresses, router });
                }
                Err(error) if self.rounds <= 1 => {
                    let Bootstrap { host, port, .. } = &name.bootstrap;
                    let line = format!("--bootstrap {host}:{port}: cannot resolve: {error}");
                    return Poll::Ready(Entry::Failed { line });
                }
                Err(_) => {}
            }
        }
        Poll::Pending
    }

    /// Notes that `from` sent something.
    pub(super) fn on_datagram(&mut self, from: SocketAddr) {
        if self.answered as usize == self.tried.len() {
            return;
        }
        if let Some(answered @ false) = self.tried.get_mut(&from) {
            *answered = true;
            self.answered += 1;
        }
    }

    /// Whether any of the addresses sent something.
    pub(super) fn has_answer(&self) -> bool {
        self.answered > 0
    }

    /// The names, if there is nothing else and none of them resolved.
    pub(super) fn hopeless(&self) -> Option<Vec<String>> {
        let resolving = self.names.iter().any(|name| name.resolving.is_some());
        if self.rounds == 0
            || resolving
            || self.ready.is_some()
            || self.names.is_empty()
            || !self.tried.is_empty()
        {
            return None;
        }
        Some(self.names.iter().map(|name| name.bootstrap.host.clone()).collect())
    }

    pub(super) fn report(&self) -> BootstrapReport {
        let resolved = self.names.iter().filter(|name| name.resolved).count() as u32;
        BootstrapReport {
            names_resolved: resolved,
            names_failed: self.names.len() as u32 - resolved,
            addresses_tried: self.tried.len() as u32,
            answered: self.answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn entrance(hosts: &[&str]) -> Entrance {
        let list =
            hosts.iter().map(|host| Bootstrap { host: (*host).into(), port: 6881, router: false });
        Entrance::new(list.collect(), [true, true], false)
    }

    fn steps(entrance: &mut Entrance) -> Vec<Entry> {
        let mut steps = Vec::new();
        while entrance.literals.len()
            + entrance.names.iter().filter(|n| n.resolving.is_some()).count()
            > 0
        {
            steps.push(smol::block_on(std::future::poll_fn(|cx| entrance.poll(cx))));
        }
        steps
    }

    #[test]
    fn literal_addresses_do_not_wait_for_names() {
        let mut entrance = entrance(&["127.0.0.1", "name.invalid"]);
        entrance.handle_timeout(Instant::START);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Entry::Found { addresses, .. }) = entrance.poll(&mut cx) else {
            panic!("the literal address comes first");
        };
        assert_eq!(addresses, [SocketAddr::from(([127, 0, 0, 1], 6881))]);
        assert_eq!(entrance.hopeless(), None);
    }

    #[test]
    fn an_unresolvable_name_alone_is_hopeless_and_named() {
        // The blank makes it no name at all: refused without a question on the network.
        let mut entrance = entrance(&["no such name"]);
        assert_eq!(entrance.hopeless(), None);
        entrance.handle_timeout(Instant::START);
        let steps = steps(&mut entrance);
        assert!(matches!(&steps[..], [Entry::Failed { line }] if line.contains("no such name")));
        assert_eq!(entrance.hopeless(), Some(vec!["no such name".to_owned()]));
        assert_eq!(entrance.report().names_failed, 1);
    }

    #[test]
    fn with_contacts_of_an_earlier_run_routers_wait_and_named_nodes_do_not() {
        let node = |host: &str, router| Bootstrap { host: host.into(), port: 6881, router };
        let warm = |list: &[Bootstrap]| Entrance::new(list.to_vec(), [true, true], true);
        let named = warm(&[node("127.0.0.1", false)]);
        assert_eq!(named.literals.len(), 1);
        let at = |seconds| Instant::START + Duration::from_secs(seconds);
        // Nobody answers: they follow.
        let mut silent = warm(&[node("no such name", true)]);
        silent.handle_timeout(at(0));
        silent.on_answers(at(4), 0);
        assert!(silent.names.is_empty() && silent.hopeless().is_none());
        silent.on_answers(at(5), 0);
        silent.handle_timeout(at(5));
        assert!(silent.names[0].resolving.is_some());
        // Somebody does: only when all fall silent.
        let mut alive = warm(&[node("127.0.0.1", true)]);
        alive.on_answers(at(4), 1);
        alive.on_answers(at(303), 1);
        assert!(alive.literals.is_empty());
        alive.on_answers(at(304), 1);
        assert_eq!(alive.literals.len(), 1);
    }

    #[test]
    fn names_are_asked_again_until_somebody_answers() {
        let mut entrance = entrance(&["no such name", "127.0.0.1"]);
        entrance.handle_timeout(Instant::START);
        steps(&mut entrance);
        let due = entrance.poll_timeout().expect("another round");
        assert_eq!(due, Instant::START + RESOLVE_AGAIN);
        entrance.handle_timeout(due);
        assert!(entrance.names[0].resolving.is_some());
        entrance.on_datagram(SocketAddr::from(([127, 0, 0, 1], 6881)));
        entrance.on_datagram(SocketAddr::from(([127, 0, 0, 1], 6881)));
        assert_eq!(entrance.poll_timeout(), None);
        assert_eq!(entrance.report().answered, 1);
    }
}
