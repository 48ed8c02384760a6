//! What a node asks by itself: now and then, real nodes query whoever queried them.

use estudely_core::id::{Id, InfoHash};
use estudely_core::krpc::{Envelope, Method, Want, emit_method};

use super::VERSION;
use crate::world::World;

/// A query of node `number` with a transaction of its own: any of BEP 5. Announces carry a token
/// that nobody gave out.
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
    out
}
