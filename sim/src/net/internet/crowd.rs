//! The nodes that something has reached, made when it did and forgotten when they are too many.

use std::collections::VecDeque;

use estudely_core::Family;

use crate::actors::node::Node;
use crate::world::universe::Universe;

/// Most nodes kept; the one made first goes first. One that comes back has forgotten what was
/// announced to it, as a restarted node has.
pub const NODES_KEPT: usize = 262_144;

#[derive(Debug)]
pub(super) struct Crowd {
    /// By family and number.
    nodes: [Vec<Option<Box<Node>>>; 2],
    /// In the order they were made.
    made: VecDeque<(Family, u32)>,
}

impl Crowd {
    pub(super) fn new(universe: &Universe) -> Self {
        let seats = |family| {
            let count = universe.world(family).map_or(0, |world| world.node_count());
            std::iter::repeat_with(|| None).take(count as usize).collect()
        };
        Self { nodes: Family::ALL.map(seats), made: VecDeque::new() }
    }

    /// The node of that number, which exists.
    pub(super) fn node(&mut self, family: Family, number: u32) -> &mut Node {
        if self.nodes[family.index()][number as usize].is_none() {
            self.made.push_back((family, number));
            if self.made.len() > NODES_KEPT
                && let Some((family, number)) = self.made.pop_front()
            {
                self.nodes[family.index()][number as usize] = None;
            }
        }
        let seat = &mut self.nodes[family.index()][number as usize];
        seat.get_or_insert_with(|| Box::new(Node::new(number)))
    }
}
