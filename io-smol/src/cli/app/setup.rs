//! From a checked command line to the options of a run.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use estudely_core::{Config, ConfigError, InfoHash, Mode, Seed};

use crate::cli::args::{Command, Form};
use crate::engine::run::{Bind, Bootstrap, Options, Request, Requests};
use crate::engine::signal::Interrupts;
use crate::files::state::StateFile;

/// UDP port when none is named, the customary one (BEP 5 names none).
const PORT: u16 = 6881;

/// Public routers, asked once each and never sampled.
const ROUTERS: [(&str, u16); 5] = [
    ("router.bittorrent.com", 6881),
    ("dht.transmissionbt.com", 6881),
    ("dht.libtorrent.org", 25401),
    ("router.utorrent.com", 6881),
    ("dht.aelitis.com", 6881),
];

/// The core's mode for a form.
pub(super) fn mode(form: &Form) -> Mode {
    match form {
        Form::Crawl => Mode::Crawl,
        Form::Peers => Mode::Peers,
        Form::Get { peers, .. } if !peers.is_empty() => Mode::Direct,
        Form::Fetch(_) | Form::Get { .. } => Mode::Fetch,
    }
}

/// The request of `crawl get`: the peers given are orders, those of the magnet link hearsay.
pub(super) fn request(command: &Command) -> Option<Request> {
    let Form::Get { target, peers } = &command.form else { return None };
    let hearsay = target.peers.clone();
    Some(Request { hash: target.hash, orders: peers.clone(), hearsay })
}

/// The core's settings: in range, as the command line was checked by the same limits.
pub(super) fn config(command: &Command) -> Result<Config, ConfigError> {
    Config::new(mode(&command.form))
        .with_policy(command.policy)
        .with_encryption(command.encryption)
        .with_transports(command.transports)
        .with_max_infohashes(command.max_infohashes)
        .with_peers_per_infohash(command.peers_per_infohash)?
        .with_peer_attempts(command.peer_attempts)?
        .with_rate(command.pace.rate)?
        .with_new_flows(command.pace.new_flows)?
        .with_max_connections(command.pace.max_connections)?
        .with_unfinished_mib(command.pace.unfinished_mib)?
        .with_rows_mib(command.pace.rows_mib)?
        .with_utp_rate(command.pace.utp_rate)
}

/// The options of a run.
pub(super) fn options(
    command: &Command,
    crawler: Config,
    seed: Seed,
    state: Option<StateFile>,
    known: Vec<InfoHash>,
    requests: Requests,
    signals: Option<Interrupts>,
) -> Options {
    Options {
        crawler,
        seed,
        bind: bind(&command.bind),
        bootstrap: bootstrap(&command.bootstrap),
        overall_timeout: command.overall_timeout,
        until_idle: command.until_idle,
        state,
        known,
        requests,
        signals,
    }
}

fn bind(named: &[SocketAddr]) -> Vec<Bind> {
    if !named.is_empty() {
        return named.iter().map(|addr| Bind { addr: *addr, named: true }).collect();
    }
    let any = [(Ipv4Addr::UNSPECIFIED, PORT).into(), (Ipv6Addr::UNSPECIFIED, PORT).into()];
    any.map(|addr| Bind { addr, named: false }).to_vec()
}

fn bootstrap(named: &[(String, u16)]) -> Vec<Bootstrap> {
    let node = |host: &str, port: u16, router| Bootstrap { host: host.to_owned(), port, router };
    if named.is_empty() {
        return ROUTERS.iter().map(|(host, port)| node(host, *port, true)).collect();
    }
    named.iter().map(|(host, port)| node(host, *port, false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Parsed, parse};

    fn command(line: &str) -> Command {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&words) {
            Ok(Parsed::Run(command)) => *command,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn options_of(line: &str) -> Options {
        let command = command(line);
        let crawler = config(&command).expect("in range");
        options(&command, crawler, Seed::from_u64(1), None, Vec::new(), Requests::none(), None)
    }

    #[test]
    fn what_the_user_names_is_no_router_and_only_his_families_are_bound() {
        let named = options_of("--bootstrap [::1]:5 --bind 127.0.0.1:0");
        assert_eq!(named.bootstrap.len(), 1);
        assert!(!named.bootstrap[0].router);
        assert_eq!(named.bind, [Bind { addr: ([127, 0, 0, 1], 0).into(), named: true }]);
        let default = options_of("");
        assert!(default.bootstrap.iter().all(|node| node.router));
        assert!(default.bind.len() == 2 && default.bind.iter().all(|bind| !bind.named));
    }

    #[test]
    fn a_given_peer_turns_the_dht_off() {
        let hash = "631a31dd0a46257d5078c0dee4e66e26f73e42ac";
        assert_eq!(options_of(&format!("get {hash}")).crawler.mode(), Mode::Fetch);
        let direct = options_of(&format!("get {hash} --peer 127.0.0.1:1"));
        assert_eq!(direct.crawler.mode(), Mode::Direct);
    }

    #[test]
    fn peers_of_a_magnet_are_hearsay_and_given_ones_are_not() {
        let magnet = "magnet:?xt=urn:btih:631a31dd0a46257d5078c0dee4e66e26f73e42ac\
                      &x.pe=127.0.0.1:1&x.pe=8.8.8.8:2";
        let named = |line: &str| {
            let request = request(&command(line)).expect("get asks for one");
            (request.orders.len(), request.hearsay.len())
        };
        assert_eq!(named(&format!("get {magnet}")), (0, 2));
        assert_eq!(named(&format!("get {magnet} --peer 127.0.0.1:9")), (1, 2));
    }
}
