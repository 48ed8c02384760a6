//! Fetches one torrent's metadata from one peer and describes it:
//!
//! ```text
//! cargo run -p estudely-io-smol --example fetch -- INFOHASH 127.0.0.1:51413
//! ```
//!
//! INFOHASH is also a magnet link. Contacts that address only. Exit status: 0 fetched and
//! verified, 1 not, 2 usage.

mod common;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use estudely_core::info;
use estudely_core::internal::exchange::{Attempt, Pipeline};
use estudely_core::magnet;
use estudely_core::{Exchange, Fetched, InfoHash, Transport};
use estudely_io_smol::clock::Clock;
use estudely_io_smol::entropy::random_seed;
use estudely_io_smol::tcp::Connections;

use common::{Failure, address, arguments, finish, usage, vain};

fn main() -> ExitCode {
    let result = arguments("fetch INFOHASH|MAGNET IP:PORT").and_then(|[hash, peer]| {
        let magnet = magnet::parse(&hash).map_err(|error| usage(error.to_string()))?;
        fetch(magnet.hash, address(&peer)?)
    });
    finish("fetch", result.and_then(|fetched| describe(&fetched)))
}

fn fetch(hash: InfoHash, peer: SocketAddr) -> Result<Fetched, Failure> {
    let clock = Clock::start();
    let connections = Connections::new(clock, [None, None]);
    let attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::All };
    let seed = random_seed().map_err(vain)?;
    connections.dial((), peer, Exchange::new(clock.now(), hash, attempt, None, seed));
    let ((), outcome) = async_io::block_on(connections.run(connections.outcome()));
    outcome.result.map_err(|fault| vain(format!("{peer}: {fault} ({:?})", outcome.progress)))
}

fn describe(fetched: &Fetched) -> Result<String, Failure> {
    let info = fetched.info.as_ref().map_err(|error| vain(format!("broken: {error}")))?;
    let mut text = String::new();
    let _ = writeln!(text, "name          {}", info::display_name(&info.name));
    let _ = writeln!(text, "files         {}", info.file_count);
    let _ = writeln!(text, "total bytes   {}", info.total_bytes);
    let _ = writeln!(text, "piece length  {}", info.piece_length);
    let _ = writeln!(text, "private       {}", info.private);
    let _ = writeln!(text, "protocol      {:?}", info.protocol);
    Ok(text)
}
