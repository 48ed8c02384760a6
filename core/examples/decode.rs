//! Decodes one KRPC datagram given in hexadecimal, as an argument or on standard input:
//!
//! ```text
//! cargo run -p estudely-core --example decode -- 64313a6164323a6964...
//! ```
//!
//! Prints what it says, with everything unprintable escaped. Exit status: 0 decoded, 1 not KRPC,
//! 2 not hexadecimal.

use std::fmt::{self, Write as _};
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use estudely_core::krpc::{ErrorReply, Kind, Message, Method, Oddity, Query, Reply, Tolerated};
use estudely_core::limits::DATAGRAM_LEN_MAX;

fn main() -> ExitCode {
    match hex_argument().and_then(|text| unhex(&text)).and_then(|bytes| describe(&bytes)) {
        Ok(text) => {
            // A reader that closed the pipe has seen what it wanted.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "decode: {}", failure.line);
            ExitCode::from(failure.status)
        }
    }
}

/// One line for people, and the exit status.
struct Failure {
    line: String,
    status: u8,
}

/// The packet cannot even be looked at.
fn usage(line: impl Into<String>) -> Failure {
    Failure { line: line.into(), status: 2 }
}

fn hex_argument() -> Result<String, Failure> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(_), Some(_)) => Err(usage("give one packet, without spaces or in quotes")),
        (Some(text), None) => text.into_string().map_err(|_| usage("the argument is not text")),
        (None, _) => {
            let mut bytes = Vec::new();
            // White space may separate digits, so allow more than two characters per byte.
            let limit = 8 * DATAGRAM_LEN_MAX as u64;
            let read = io::stdin().lock().take(limit).read_to_end(&mut bytes);
            read.map_err(|error| usage(format!("standard input: {error}")))?;
            String::from_utf8(bytes).map_err(|_| usage("standard input is not text"))
        }
    }
}

/// Reads hexadecimal digits of either case, white space between them ignored.
fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let mut digits = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        let digit = c.to_digit(16).ok_or_else(|| {
            usage(format!("'{}' at offset {at} is no hexadecimal digit", c.escape_default()))
        })?;
        digits.push(digit as u8);
    }
    if digits.is_empty() {
        return Err(usage("no packet: give its bytes in hexadecimal, as argument or on stdin"));
    }
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(usage(format!("{} hexadecimal digits, which is odd", digits.len())));
    }
    Ok(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn describe(datagram: &[u8]) -> Result<String, Failure> {
    let message = Message::parse(datagram)
        .map_err(|error| Failure { line: format!("not a KRPC message: {error}"), status: 1 })?;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_message(&mut out, &message, datagram.len());
    Ok(out)
}

fn write_message(out: &mut String, message: &Message<'_>, len: usize) -> fmt::Result {
    let kind = match message.kind {
        Kind::Query(_) => "query",
        Kind::Reply(_) => "reply",
        Kind::Error(_) => "error",
    };
    writeln!(out, "{kind}, {len} bytes")?;
    writeln!(out, "  transaction  {}", hex(message.transaction))?;
    if let Some(version) = message.version {
        writeln!(out, "  version      {}", version.escape_ascii())?;
    }
    if message.read_only {
        writeln!(out, "  read only    answers no queries")?;
    }
    if let Some(addr) = message.external {
        writeln!(out, "  sees us as   {addr}")?;
    }
    match &message.kind {
        Kind::Query(query) => write_query(out, query)?,
        Kind::Reply(reply) => write_reply(out, reply)?,
        Kind::Error(error) => write_error(out, error)?,
    }
    write_flags(out, message.flags)
}

fn write_query(out: &mut String, query: &Query<'_>) -> fmt::Result {
    writeln!(out, "  from         {}", query.id)?;
    match &query.method {
        Method::Ping => writeln!(out, "  ping")?,
        Method::FindNode { target } => writeln!(out, "  find_node of {target}")?,
        Method::GetPeers { info_hash, scrape, noseed } => {
            writeln!(out, "  get_peers of {info_hash} (scrape {scrape}, noseed {noseed})")?;
        }
        Method::AnnouncePeer { info_hash, port, implied_port, token, seed } => {
            writeln!(out, "  announce_peer of {info_hash}")?;
            writeln!(out, "  port         {port} (implied {implied_port})")?;
            writeln!(out, "  token        {}", hex(token))?;
            writeln!(out, "  seed         {seed}")?;
        }
        Method::SampleInfohashes { target } => {
            writeln!(out, "  sample_infohashes towards {target}")?;
        }
        Method::Malformed { name, argument } => {
            writeln!(out, "  {}: {}", name.escape_ascii(), argument.text().escape_ascii())?;
        }
        Method::Unknown { name, target } => {
            writeln!(out, "  unknown method {}", name.escape_ascii())?;
            if let Some(target) = target {
                writeln!(out, "  target       {target}")?;
            }
        }
    }
    for (wanted, name) in [(query.want.v4, "IPv4"), (query.want.v6, "IPv6")] {
        if wanted {
            writeln!(out, "  wants        {name} contacts")?;
        }
    }
    Ok(())
}

fn write_reply(out: &mut String, reply: &Reply<'_>) -> fmt::Result {
    writeln!(out, "  from         {}", reply.id)?;
    if let Some(token) = reply.token {
        writeln!(out, "  token        {}", hex(token))?;
    }
    if let Some(interval) = reply.interval {
        writeln!(out, "  interval     {interval} s")?;
    }
    if let Some(num) = reply.num {
        writeln!(out, "  stores       {num} infohashes")?;
    }
    if let Some(samples) = reply.samples.clone() {
        writeln!(out, "  {} samples", samples.len())?;
        samples.into_iter().try_for_each(|hash| writeln!(out, "    {hash}"))?;
    }
    for (name, filter) in [("seeds", reply.bfsd), ("peers", reply.bfpe)] {
        if let Some(filter) = filter {
            let bits: u32 = filter.iter().map(|byte| byte.count_ones()).sum();
            writeln!(out, "  filter of {name}: {bits} bits set")?;
        }
    }
    for contact in reply.nodes.clone().chain(reply.nodes6.clone()) {
        writeln!(out, "  contact      {} at {}", contact.id, contact.addr)?;
    }
    reply.values.clone().try_for_each(|peer| writeln!(out, "  peer         {peer}"))
}

fn write_error(out: &mut String, error: &ErrorReply<'_>) -> fmt::Result {
    match error.code {
        Some(code) => writeln!(out, "  code         {code}")?,
        None => writeln!(out, "  code         none")?,
    }
    writeln!(out, "  text         {}", error.text.escape_ascii())
}

fn write_flags(out: &mut String, flags: Tolerated) -> fmt::Result {
    let tolerated = [
        (flags.bencode.leading_zero, "numbers with leading zeros"),
        (flags.bencode.unsorted, "keys out of order"),
        (flags.bencode.duplicate, "the same key twice"),
        (flags.contains(Oddity::Trailing), "bytes after the message"),
        (flags.contains(Oddity::Ragged), "contacts or samples that end in a fraction of an entry"),
        (flags.contains(Oddity::Mistyped), "fields of the wrong type or length"),
        (flags.contains(Oddity::OddValues), "peers in a form other than 6 or 18 bytes"),
    ];
    for (_, what) in tolerated.iter().filter(|(set, _)| *set) {
        writeln!(out, "  tolerated    {what}")?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
