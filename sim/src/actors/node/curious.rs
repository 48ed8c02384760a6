//! What a node asks by itself: now and then, real nodes query a node that queried them.

use estudely_core::krpc::{Envelope, Method, Want, emit_method};
use estudely_core::{Id, InfoHash};

use super::VERSION;
use super::raw::{Raw, int, string};
use crate::world::dht::World;

/// A query of node `number` with a transaction of its own: any of BEP 5. Announces carry a token
/// that was never given out.
pub(super) fn query(world: &World, number: u32, dice: &mut fastrand::Rng) -> Vec<u8> {
    let (mut point, mut transaction) = ([0; 20], [0; 4]);
    dice.fill(&mut point);
    dice.fill(&mut transaction);
    let known = world.torrent_count() > 0 && dice.bool();
    let info_hash = match known {
        true => world.key(dice.u32(0..world.torrent_count())),
        false => InfoHash(point),
    };
    let method = match dice.u8(0..4) {
        0 => Method::Ping,
        1 => Method::FindNode { target: Id(point) },
        2 => Method::GetPeers { info_hash, scrape: false, noseed: false },
        _ => Method::AnnouncePeer {
            info_hash,
            port: dice.u16(1..),
            implied_port: dice.bool(),
            token: b"guess",
            seed: false,
        },
    };
    let envelope = Envelope {
        transaction: &transaction,
        version: Some(VERSION),
        read_only: false,
        external: None,
    };
    let mut out = Vec::new();
    emit_method(&mut out, &envelope, world.contact(number).id, &method, Want::UNSPECIFIED);
    bend(dice, out)
}

/// Some ask without a transaction id (D21), or for families in a form of their own (D19).
fn bend(dice: &mut fastrand::Rng, query: Vec<u8>) -> Vec<u8> {
    let Some(mut raw) = Raw::read(&query) else { return query };
    match dice.u8(0..8) {
        0 => raw.unset(b"t"),
        1 => raw.argue(b"want", string(b"n4")),
        2 => raw.argue(b"want", [b"l".to_vec(), int(4), string(b"n6"), b"e".to_vec()].concat()),
        _ => return query,
    }
    raw.write()
}
