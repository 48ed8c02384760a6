//! The command line of `crawl`: words in, one checked [`Command`] out.
//!
//! Nothing here opens a file or a socket, and nothing prints: whatever is wrong with a command
//! line is known before anything is sent or truncated.

mod command;
mod help;
mod options;
mod tokens;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;

use argh::FromArgs;
use estudely_core::magnet::{self, MagnetError};
use estudely_core::{AddressPolicy, EncryptionPolicy, Family, TransportPolicy, limits};

use crate::files::sink::{Place, RowsPer};
use crate::files::state::with_ending;
use crate::text::{printable, word};
use options::Raw;
use tokens::Words;
use value::wrong;

pub use command::{Command, Form, FormName, Pace, Parsed, ProgressMode, UsageError, Verbosity};

/// Reads a command line, without the program's name.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(args: &[String]) -> Result<Parsed, UsageError> {
    let (form, argv) = match tokens::split(args)? {
        Words::Help(form) => return Ok(Parsed::Text(help::text(form))),
        Words::Version => {
            return Ok(Parsed::Text(format!("crawl {}\n", env!("CARGO_PKG_VERSION"))));
        }
        Words::Run { form, argv } => (form, argv),
    };
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let raw = Raw::from_args(&["crawl"], &argv)
        .map_err(|exit| UsageError::new(printable(&exit.output.trim().replace('\n', " "))))?;
    command(form, &raw).map(|command| Parsed::Run(Box::new(command)))
}

fn command(name: FormName, raw: &Raw) -> Result<Command, UsageError> {
    let form = form(name, raw)?;
    let outputs = outputs(name, raw)?;
    let limit = |option, value: &Option<String>, max| {
        value.as_deref().map(|value| value::whole(option, value, 1..=max)).transpose()
    };
    let seconds = |option, value: &Option<String>| {
        value.as_deref().map(|value| value::seconds(option, value)).transpose()
    };
    let per_infohash = |option, value: &Option<String>, default: u32| {
        let value = limit(option, value, limits::PEERS_PER_INFOHASH_MAX.into())?;
        Ok(value.map_or(default, |n| u32::try_from(n).unwrap_or(u32::MAX)))
    };
    Ok(Command {
        state: state(name, raw, &outputs)?,
        outputs,
        tee: raw.tee,
        rows: option(
            "--rows",
            &raw.rows,
            &[("peer", RowsPer::Peer), ("torrent", RowsPer::Torrent)],
        )?,
        overwrite: raw.overwrite,
        escape_formulas: raw.escape_formulas,
        max_output_bytes: limit("--max-output-bytes", &raw.max_output_bytes, u64::MAX)?,
        stats: raw.stats.as_deref().map(|value| value::file("--stats", value)).transpose()?,
        max_infohashes: limit("--max-infohashes", &raw.max_infohashes, u64::MAX)?,
        peers_per_infohash: per_infohash("--peers-per-infohash", &raw.peers_per_infohash, 20)?,
        peer_attempts: per_infohash("--metadata-peer-attempts", &raw.metadata_peer_attempts, 5)?,
        overall_timeout: seconds("--overall-timeout", &raw.overall_timeout)?,
        until_idle: seconds("--until-idle", &raw.until_idle)?,
        bootstrap: raw
            .bootstrap
            .iter()
            .map(|value| value::host("--bootstrap", value))
            .collect::<Result<_, _>>()?,
        bind: bind(&raw.bind)?,
        pace: pace(raw)?,
        encryption: encryption(raw)?,
        transports: raw.transports.as_deref().map_or(Ok(TransportPolicy::Any), transports)?,
        policy: if raw.allow_private { AddressPolicy::AllowPrivate } else { AddressPolicy::Public },
        seed: raw
            .seed
            .as_deref()
            .map(|value| value::whole("--seed", value, 0..=u64::MAX))
            .transpose()?,
        progress: option(
            "--progress",
            &raw.progress,
            &[
                ("auto", ProgressMode::Auto),
                ("always", ProgressMode::Always),
                ("never", ProgressMode::Never),
            ],
        )?,
        verbosity: if raw.verbose { Verbosity::Verbose } else { Verbosity::Normal },
        form,
    })
}

fn option<T: Copy + Default>(
    option: &str,
    value: &Option<String>,
    choices: &[(&str, T)],
) -> Result<T, UsageError> {
    value.as_deref().map_or(Ok(T::default()), |value| value::choice(option, value, choices))
}

fn encryption(raw: &Raw) -> Result<EncryptionPolicy, UsageError> {
    let words = [
        ("auto", EncryptionPolicy::Auto),
        ("require", EncryptionPolicy::Require),
        ("off", EncryptionPolicy::Off),
    ];
    option("--encryption", &raw.encryption, &words)
}

/// What `--transports` names: words with commas between them, each once.
fn transports(value: &str) -> Result<TransportPolicy, UsageError> {
    let bad = |why: &str| UsageError::new(format!("--transports {}: {why}", word(value)));
    let (mut tcp, mut utp) = (false, false);
    for one in value.split(',') {
        let named = match one {
            "tcp" => &mut tcp,
            "utp" => &mut utp,
            _ => return Err(bad("must be tcp, utp, or both with a comma between them")),
        };
        if std::mem::replace(named, true) {
            return Err(bad("names one of them twice"));
        }
    }
    Ok(match (tcp, utp) {
        (true, false) => TransportPolicy::Tcp,
        (false, true) => TransportPolicy::Utp,
        _ => TransportPolicy::Any,
    })
}

/// The form with its operand.
fn form(name: FormName, raw: &Raw) -> Result<Form, UsageError> {
    let missing = |what: &str| {
        let form = name.words();
        UsageError::new(format!("{form}: {what} is missing; see {form} --help"))
    };
    if let (FormName::Crawl | FormName::Peers, Some(extra)) | (_, Some(extra)) =
        (name, raw.operands.get(usize::from(matches!(name, FormName::Fetch | FormName::Get))))
    {
        return Err(match FormName::find(extra) {
            Some(form) => UsageError::new(format!(
                "{extra}: the form comes first; write {} before any option",
                form.words()
            )),
            None => UsageError::new(format!(
                "{}: {} takes no such word; see {} --help",
                word(extra),
                name.words(),
                name.words()
            )),
        });
    }
    let operand = raw.operands.first().map(String::as_str);
    match name {
        FormName::Crawl => Ok(Form::Crawl),
        FormName::Peers => Ok(Form::Peers),
        FormName::Fetch => match operand {
            None | Some("") => Err(missing("PEERS.csv, or - for stdin,")),
            Some("-") => Ok(Form::Fetch(None)),
            Some(path) => Ok(Form::Fetch(Some(PathBuf::from(path)))),
        },
        FormName::Get => {
            let operand = operand.ok_or_else(|| missing("INFOHASH or MAGNET"))?;
            let target = magnet::parse(operand).map_err(|reason| {
                let cure = match reason {
                    // The reason says what one looks like.
                    MagnetError::NotMagnet | MagnetError::BadHash => "",
                    _ => "; give an infohash or a magnet link",
                };
                UsageError::new(format!("{}: {reason}{cure}", word(operand)))
            })?;
            let most = limits::ORDERS_PER_INFOHASH_MAX;
            if let Some(value) = raw.peer.get(most) {
                return Err(wrong(
                    "--peer",
                    value,
                    format!("at most {most} of them; leave some out"),
                ));
            }
            let peers = raw.peer.iter().map(|value| value::peer("--peer", value));
            Ok(Form::Get { target, peers: peers.collect::<Result<_, _>>()? })
        }
    }
}

fn outputs(name: FormName, raw: &Raw) -> Result<Vec<Place>, UsageError> {
    let mut outputs = Vec::new();
    for value in &raw.out {
        let place = value::place("--out", value)?;
        if outputs.contains(&place) {
            return Err(wrong("--out", value, "given twice; give it once"));
        }
        outputs.push(place);
    }
    if outputs.is_empty() {
        outputs.push(match name {
            FormName::Crawl | FormName::Fetch => Place::File("metadata.csv".into()),
            FormName::Peers => Place::File("peers.csv".into()),
            FormName::Get => Place::Stdout,
        });
    }
    if raw.tee && outputs.contains(&Place::Stdout) {
        return Err(UsageError::new("--tee: rows go to stdout already; leave it out"));
    }
    Ok(outputs)
}

/// `--state`, or the place beside the first output; one torrent needs none.
fn state(name: FormName, raw: &Raw, outputs: &[Place]) -> Result<Option<PathBuf>, UsageError> {
    if let Some(value) = &raw.state {
        return value::state("--state", value);
    }
    Ok(match outputs.first() {
        Some(Place::File(path)) if name != FormName::Get && !raw.allow_private => {
            Some(with_ending(path, ".state"))
        }
        _ => None,
    })
}

fn bind(values: &[String]) -> Result<Vec<SocketAddr>, UsageError> {
    let mut bound: Vec<SocketAddr> = Vec::new();
    for value in values {
        let addr = value::bind("--bind", value)?;
        if bound.iter().any(|other| Family::of(*other) == Family::of(addr)) {
            return Err(wrong("--bind", value, "a second one of its family; give one of each"));
        }
        bound.push(addr);
    }
    Ok(bound)
}

/// `--profile`, and the flags that win over it.
fn pace(raw: &Raw) -> Result<Pace, UsageError> {
    let profiles = [("home", Pace::HOME), ("server", Pace::SERVER)];
    let mut pace = match raw.profile.as_deref() {
        None => Pace::HOME,
        Some(value) => value::choice("--profile", value, &profiles)?,
    };
    let unlimited =
        |option: &str, value: &str, max: u64| match value::whole(option, value, 0..=max)? {
            0 if !raw.allow_private => Err(wrong(
                option,
                value,
                "no limit is only for a swarm of your own; add --allow-private, or give at least 1",
            )),
            0 => Ok(None),
            n => Ok(u32::try_from(n).ok()),
        };
    if let Some(value) = &raw.rate {
        pace.rate = unlimited("--rate", value, limits::RATE_MAX.into())?;
    }
    if let Some(value) = &raw.new_flows {
        pace.new_flows = unlimited("--new-flows", value, limits::NEW_FLOWS_A_MINUTE_MAX.into())?;
    }
    if let Some(value) = &raw.max_connections {
        let n = value::whole("--max-connections", value, 1..=limits::CONNECTIONS_MAX.into())?;
        pace.max_connections = u32::try_from(n).unwrap_or(u32::MAX);
    }
    Ok(pace)
}

#[cfg(test)]
mod tests;
