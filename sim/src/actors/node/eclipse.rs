//! Nodes that collude to hide one torrent: their ids surround its key, and an asker of one of them
//! for anything is sent to the others.
//!
//! They look alive and well-mannered, answer with good ids from addresses of their own, and keep to
//! BEP 51 with the key itself as their sample, which is the bait: it is from them that a crawler
//! hears of it, and none of them knows a peer.

use estudely_core::internal::addr::emit_node;
use estudely_core::{Family, NodeId};

use super::raw::{Raw, int, string};
use super::vices::Asked;
use crate::world::dht::World;
use crate::world::routing::K;

/// The answer of colluder `number` to `query`, where an honest node would have said `honest`.
pub(super) fn answer(world: &World, number: u32, query: &[u8], honest: Vec<u8>) -> Vec<u8> {
    let Some(mut raw) = Raw::read(&honest) else { return honest };
    let key = match world.family() {
        Family::V4 => b"nodes".as_slice(),
        Family::V6 => b"nodes6",
    };
    if let Some(target) = Asked::of(query).target {
        let mut others: Vec<u32> = world.colluders().filter(|&other| other != number).collect();
        others.sort_by_cached_key(|&other| distance(world.contact(other).id, NodeId(target.0)));
        let mut compact = Vec::new();
        others.iter().take(K).for_each(|&node| emit_node(world.contact(node), &mut compact));
        raw.replace(key, string(&compact));
    }
    raw.replace(b"samples", string(&world.key(0).0));
    raw.replace(b"num", int(1));
    raw.write()
}

fn distance(a: NodeId, b: NodeId) -> [u8; 20] {
    std::array::from_fn(|at| a.0[at] ^ b.0[at])
}
