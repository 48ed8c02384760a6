//! Pings one DHT node and says who answered, after how long:
//!
//! ```text
//! cargo run -p estudely-io-smol --example ping -- 127.0.0.1:6881
//! ```
//!
//! Contacts that address only. Exit status: 0 answered, 1 not within 2 s, 2 usage.

mod common;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use estudely_core::krpc::{Ask, Kind, Message};

use common::{Asker, Failure, PATIENCE, address, arguments, finish, vain};

fn main() -> ExitCode {
    let result = arguments("ping IP:PORT")
        .and_then(|[node]| address(&node))
        .and_then(|node| smol::block_on(ping(node)));
    finish("ping", result)
}

async fn ping(node: SocketAddr) -> Result<String, Failure> {
    let mut asker = Asker::new(node)?;
    let asked = Instant::now();
    let transaction = asker.ask(node, &Ask::Ping);
    let mut answer = None;
    while answer.is_none() && asked.elapsed() < PATIENCE {
        let left = PATIENCE.saturating_sub(asked.elapsed());
        asker
            .listen(left, |from, datagram| {
                let Ok(message) = Message::parse(datagram) else { return };
                if from != node || message.transaction != transaction {
                    return;
                }
                let version = message.version.unwrap_or(b"unnamed software").escape_ascii();
                answer = match message.kind {
                    Kind::Reply(reply) => Some(Ok(format!("node {} ({version})", reply.id))),
                    Kind::Error(error) => {
                        Some(Err(format!("an error: {}", error.text.escape_ascii())))
                    }
                    Kind::Query(_) => None,
                };
            })
            .await;
    }
    match answer {
        Some(Ok(who)) => Ok(format!("{who} answered in {:.1?}\n", asked.elapsed())),
        Some(Err(line)) => Err(vain(line)),
        None => Err(vain(format!("{node} did not answer in {PATIENCE:?}"))),
    }
}
