//! The truth about a world that is served: that of the world itself, and what each peer takes.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::ways::{Way, Ways};
use crate::world::dht::World;
use crate::world::truth;

/// Writes it as [`truth::write`] does, one JSON object per torrent and line.
pub(super) fn write(world: &World, ways: &Ways, out: &mut impl Write) -> io::Result<()> {
    truth::write(world, &mut Lines { world, ways, torrent: 0, line: Vec::new(), out })
}

/// What is written passes line by line, one for each torrent.
struct Lines<'a, W> {
    world: &'a World,
    ways: &'a Ways,
    torrent: u32,
    /// The line that has no end yet.
    line: Vec<u8>,
    out: &'a mut W,
}

impl<W: Write> Lines<'_, W> {
    /// Passes the line on.
    fn pass(&mut self) -> io::Result<()> {
        let peers = self.world.peers_of(self.torrent);
        self.torrent += 1;
        if peers.clone().any(|peer| self.ways.way(self.world, peer) == Way::Utp) {
            let mut line: Value = serde_json::from_slice(&self.line)?;
            let shown = line["peers"].as_array_mut().into_iter().flatten();
            for (shown, peer) in shown.zip(peers) {
                shown["addr"] = json!(self.ways.addr(self.world, peer).to_string());
                shown["transport"] = json!(self.ways.way(self.world, peer).word());
            }
            serde_json::to_writer(&mut *self.out, &line)?;
            self.out.write_all(b"\n")?;
        } else {
            self.out.write_all(&self.line)?;
        }
        self.line.clear();
        Ok(())
    }
}

impl<W: Write> Write for Lines<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.pass()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::dht::PeerState;
    use crate::world::dht::tests::{plan, share};

    #[test]
    fn each_peer_is_written_with_what_it_takes_and_where_it_is() {
        let world = World::build(plan(30, 60)).expect("world");
        let ways = Ways::draw(&world, share(50), 9);
        let mut file = Vec::new();
        write(&world, &ways, &mut file).expect("written");
        let text = String::from_utf8(file).expect("text");
        assert_eq!(text.lines().count(), 60);
        let mut utp = 0;
        for (line, torrent) in text.lines().zip(0..) {
            let line: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(line["infohash"], world.key(torrent).to_string());
            let shown = line["peers"].as_array().expect("peers");
            assert_eq!(shown.len(), world.peers_of(torrent).len());
            for (shown, peer) in shown.iter().zip(world.peers_of(torrent)) {
                assert_eq!(shown["addr"], ways.addr(&world, peer).to_string());
                assert_eq!(shown["state"], world.peer(peer).state.word());
                if world.peer(peer).state == PeerState::Live {
                    assert_eq!(shown["transport"], ways.way(&world, peer).word());
                }
                utp += u32::from(shown["transport"] == Way::Utp.word());
            }
        }
        assert_eq!(utp, ways.count(&world)[Way::Utp as usize]);
    }
}
