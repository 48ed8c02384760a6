//! Nodes that draw a crawler's work to themselves: every answer to `sample_infohashes` is full of
//! keys made up for it and may be asked for again at once, and for such keys they name decoys.
//!
//! To everything else they answer as honest nodes do, so that they are found as often.

use estudely_core::internal::addr::emit_peer;
use estudely_core::krpc::{Kind, Message, Method};

use super::raw::{Raw, int, list, string};
use crate::world::dht::World;

/// Keys in one answer: what 2 048 bytes hold beside eight contacts, and some more room.
const KEYS: usize = 64;
/// How many it says that it has.
const CLAIMED: i64 = 100_000;

/// The answer of baiter `number` to `query`, where an honest node would have said `honest`.
pub(super) fn answer(
    world: &World,
    number: u32,
    dice: &mut fastrand::Rng,
    query: &[u8],
    honest: Vec<u8>,
) -> Vec<u8> {
    let Ok(Message { kind: Kind::Query(asked), .. }) = Message::parse(query) else { return honest };
    let Some(mut raw) = Raw::read(&honest) else { return honest };
    match asked.method {
        Method::SampleInfohashes { .. } => {
            let keys: Vec<u8> = (0..KEYS).flat_map(|_| world.invented_key(dice).0).collect();
            raw.set_reply(b"samples", string(&keys));
            raw.set_reply(b"num", int(CLAIMED));
            raw.set_reply(b"interval", int(0));
        }
        Method::GetPeers { info_hash, .. } => {
            let compact = |decoy| {
                let mut bytes = Vec::new();
                emit_peer(world.decoy_addr(decoy), &mut bytes);
                bytes
            };
            let named: Vec<_> = world.decoys_for(number, info_hash).map(compact).collect();
            if !named.is_empty() {
                raw.set_reply(b"values", list(named.iter().map(|value| &value[..])));
            }
        }
        _ => return honest,
    }
    raw.write()
}
