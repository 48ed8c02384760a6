//! The command line of `swarm`, and the `crawl` command that it prints.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use argh::FromArgs;

use super::Weather;
use crate::world::dht::{
    Addresses, Churn, Hostility, INTERVAL_DEFAULT, Percent, Plan, Routing, World,
};
use crate::world::torrent::MetadataSizes;
use crate::world::truth::Exposure;

/// serve a made-up DHT with its torrents and peers on loopback addresses, and print the crawl
/// command for it. Same seed, same world
#[derive(FromArgs, Clone, Debug)]
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} --nodes 2000 --torrents 5000",
    example = "{command_name} --crawl metadata.csv"
)]
pub struct SwarmOptions {
    /// addresses of nodes, dead ones included (2000)
    #[argh(option, default = "2000", arg_name = "n")]
    pub nodes: u32,
    /// torrents (5000)
    #[argh(option, default = "5000", arg_name = "n")]
    pub torrents: u32,
    /// percent of node addresses at which nobody lives (20)
    #[argh(option, default = "PERCENT_20", arg_name = "pct")]
    pub dead_nodes: Percent,
    /// percent of live nodes without BEP 51: a third silent, a third answering error 204, a third
    /// answering as find_node (20)
    #[argh(option, default = "PERCENT_20", arg_name = "pct")]
    pub no_bep51: Percent,
    /// percent of peers that serve nothing: a third refuse, a third accept and stay silent, a third
    /// never complete the connection (30)
    #[argh(option, default = "PERCENT_30", arg_name = "pct")]
    pub dead_peers: Percent,
    /// percent of the other peers that take uTP only: over TCP they refuse (25, or less where
    /// --mse-peers leaves less)
    #[argh(option, arg_name = "pct")]
    pub utp_peers: Option<Percent>,
    /// percent of the other peers that take encrypted connections only, over TCP: half of them RC4,
    /// half the clear behind the exchange of keys (25, or less where --utp-peers leaves less)
    #[argh(option, arg_name = "pct")]
    pub mse_peers: Option<Percent>,
    /// peers per torrent, MIN..MAX up to 50 (2..5: as many as the crawler tries by default, so that
    /// every torrent with a live peer can be had)
    #[argh(option, default = "Range(2..=5)", arg_name = "min..max")]
    pub peers: Range,
    /// bytes of info dictionaries, MIN..MAX (mostly 1 to 3 pieces of 16 KiB, few larger)
    #[argh(option, arg_name = "min..max")]
    pub metadata_size: Option<Range>,
    /// seconds for which a node's sample is fixed (21600)
    #[argh(option, default = "INTERVAL_DEFAULT", arg_name = "seconds")]
    pub interval: u32,
    /// tables: nodes answer from their own k-buckets; ideal: with the true closest (tables)
    #[argh(option, default = "Routing::Tables", arg_name = "how")]
    pub routing: Routing,
    /// percent of datagrams lost, in each direction (0)
    #[argh(option, default = "Percent::ZERO", arg_name = "pct")]
    pub loss: Percent,
    /// milliseconds that every answer waits, one number or MIN..MAX (0)
    #[argh(option, default = "Range(0..=0)", arg_name = "ms")]
    pub latency: Range,
    /// which world of this shape (1)
    #[argh(option, default = "1", arg_name = "n")]
    pub seed: u64,
    /// port of every node and peer, 0 for any free one (16881)
    #[argh(option, default = "16881", arg_name = "n")]
    pub port: u16,
    /// first address, within 127/8 (127.16.0.0)
    #[argh(option, default = "Ipv4Addr::new(127, 16, 0, 0)", arg_name = "address")]
    pub bind_base: Ipv4Addr,
    /// end after so many seconds (never)
    #[argh(option, arg_name = "seconds")]
    pub duration: Option<u64>,
    /// write what exists and what is exposed, one JSON object per torrent and line
    #[argh(option, arg_name = "file")]
    pub truth: Option<PathBuf>,
    /// note there every sample_infohashes query that arrives: microseconds since the start, and the
    /// node asked
    #[argh(option, arg_name = "file")]
    pub asked: Option<PathBuf>,
    /// run the real crawler against this world, write its rows there, say what share of the truth
    /// they hold, and end: status 0 only if all that was exposed with a live peer is there
    #[argh(option, arg_name = "out.csv")]
    pub crawl: Option<PathBuf>,
    /// serve nothing: score the CSV named last against this truth file, status as for --crawl
    #[argh(option, arg_name = "truth")]
    pub compare: Option<PathBuf>,
    /// the file to score with --compare
    #[argh(positional, arg_name = "csv")]
    pub scored: Option<PathBuf>,
}

/// All.
const HUNDRED: u8 = 100;

const PERCENT_20: Percent = match Percent::new(20) {
    Some(percent) => percent,
    None => Percent::ZERO,
};
const PERCENT_25: Percent = match Percent::new(25) {
    Some(percent) => percent,
    None => Percent::ZERO,
};
const PERCENT_50: Percent = match Percent::new(50) {
    Some(percent) => percent,
    None => Percent::ZERO,
};
const PERCENT_30: Percent = match Percent::new(30) {
    Some(percent) => percent,
    None => Percent::ZERO,
};

/// `MIN..MAX`, both ends included, or one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(pub RangeInclusive<u32>);

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let range = min.parse().ok().zip(max.trim_start_matches('=').parse().ok());
        let range = range.filter(|(min, max)| min <= max);
        range.map(|(min, max)| Self(min..=max)).ok_or_else(|| format!("{text}: want MIN..MAX"))
    }
}

impl SwarmOptions {
    /// Reads arguments without the program's name; `Err` holds what to print, and whether it is
    /// help rather than a complaint.
    pub fn parse(arguments: &[String]) -> Result<Self, (String, bool)> {
        // `--x=5` means `--x 5`, which is all that argh knows.
        let split: Vec<&str> = arguments
            .iter()
            .flat_map(|argument| match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => vec![name, value],
                _ => vec![argument.as_str()],
            })
            .collect();
        let options = Self::from_args(&["swarm"], &split)
            .map_err(|exit| (exit.output, exit.status.is_ok()))?;
        options.check().map_err(|complaint| (complaint, false))?;
        Ok(options)
    }

    fn check(&self) -> Result<(), String> {
        if !self.bind_base.is_loopback() {
            return Err(format!("--bind-base {}: must be within 127/8", self.bind_base));
        }
        if !(1..=INTERVAL_DEFAULT).contains(&self.interval) {
            return Err(format!("--interval {}: want 1 to {INTERVAL_DEFAULT}", self.interval));
        }
        let (utp, mse) = self.shares();
        if utp.value() + mse.value() > HUNDRED {
            return Err(format!(
                "--utp-peers {} and --mse-peers {}: together more than all peers",
                utp.value(),
                mse.value()
            ));
        }
        if self.compare.is_some() != self.scored.is_some() {
            return Err(
                "--compare TRUTH needs a CSV after it, and a CSV needs --compare".to_owned()
            );
        }
        Ok(())
    }

    /// Percent of the peers that serve which take uTP only, and encrypted connections only.
    fn shares(&self) -> (Percent, Percent) {
        let beside = |other: Option<Percent>| {
            let left = HUNDRED - other.map_or(0, Percent::value);
            Percent::new(left.min(PERCENT_25.value())).unwrap_or(PERCENT_25)
        };
        let utp = self.utp_peers.unwrap_or_else(|| beside(self.mse_peers));
        (utp, self.mse_peers.unwrap_or_else(|| beside(self.utp_peers)))
    }

    /// Share of the peers that serve which takes uTP only.
    pub fn utp_share(&self) -> Percent {
        self.shares().0
    }

    /// The world asked for, at those addresses.
    pub fn plan(&self, addresses: Addresses) -> Plan {
        Plan {
            seed: self.seed,
            nodes: self.nodes,
            dead_nodes: self.dead_nodes,
            no_bep51: self.no_bep51,
            torrents: self.torrents,
            peers: self.peers.0.clone(),
            dead_peers: self.dead_peers,
            sealed_peers: self.shares().1,
            sealed_rc4: PERCENT_50,
            metadata: match &self.metadata_size {
                Some(range) => MetadataSizes::Between(range.0.clone()),
                None => MetadataSizes::Realistic,
            },
            interval: self.interval,
            routing: self.routing,
            addresses,
            churn: Churn::NONE,
            hostility: Hostility::NONE,
        }
    }

    /// The weather asked for.
    pub fn weather(&self) -> Weather {
        Weather { loss: self.loss, latency: self.latency.0.clone() }
    }
}

/// The arguments with which `crawl` crawls this world to its end. All that is exposed is its
/// limit; should anything stay out of reach, it ends when idle.
pub fn crawl_arguments(world: &World, exposure: Exposure, out: &str) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["--out", out, "--bind", "127.0.0.1:0", "--allow-private", "--profile", "server"]
            .map(str::to_owned)
            .into();
    if let Some(bootstrap) = world.bootstrap() {
        arguments.extend(["--bootstrap".to_owned(), bootstrap.addr.to_string()]);
    }
    // With short intervals samples change under way, and what is exposed is only a beginning.
    if exposure.exposed > 0 && world.plan().interval == INTERVAL_DEFAULT {
        arguments.extend(["--max-infohashes".to_owned(), exposure.exposed.to_string()]);
    }
    arguments.extend(["--until-idle".to_owned(), "20".to_owned()]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SwarmOptions, (String, bool)> {
        SwarmOptions::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_read_with_blank_or_equals_sign() {
        let options =
            parse("--nodes 10 --peers=1..4 --latency 5..20 --dead-nodes=30% --routing ideal")
                .expect("options");
        assert_eq!(options.nodes, 10);
        assert_eq!(options.peers.0, 1..=4);
        assert_eq!(options.latency.0, 5..=20);
        assert_eq!(options.dead_nodes.value(), 30);
        assert_eq!(options.routing, Routing::Ideal);
    }

    #[test]
    fn a_quarter_takes_utp_only_and_a_quarter_encryption_only_as_far_as_there_is_room() {
        for (text, shares) in [
            ("", (25, 25)),
            ("--utp-peers 100", (100, 0)),
            ("--mse-peers 90", (10, 90)),
            ("--utp-peers 0", (0, 25)),
            ("--utp-peers 60 --mse-peers 40%", (60, 40)),
        ] {
            let (utp, mse) = parse(text).expect("options").shares();
            assert_eq!((utp.value(), mse.value()), shares, "{text}");
        }
    }

    #[test]
    fn unusable_values_are_refused_with_a_reason() {
        for text in [
            "--dead-nodes 101",
            "--utp-peers 101",
            "--utp-peers 60 --mse-peers 41",
            "--peers 5..2",
            "--latency x",
            "--bind-base 10.0.0.1",
            "--interval 0",
            "--compare truth.jsonl",
            "file.csv",
            "--routing best",
            "--nodes",
            "--unknown 1",
        ] {
            let (output, is_help) = parse(text).expect_err(text);
            assert!(!is_help && output.trim().lines().count() == 1, "{text}: {output}");
        }
        let (help, is_help) = parse("-h").expect_err("help");
        assert!(is_help && help.contains("--dead-peers"));
    }
}
