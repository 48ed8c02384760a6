//! Who knows whom: routing tables drawn from the true population, and the true closest.
//!
//! Nodes are numbered in the order of their ids, so every prefix of the keyspace is a range of
//! numbers: a k-bucket is eight draws from one range, and building 20 000 tables takes
//! milliseconds. Nothing here changes after it was built.

use std::ops::Range;

use estudely_core::{Id, NodeId};

/// Contacts in a bucket and in an answer (BEP 5, 5.1).
pub const K: usize = 8;
/// Most peers in one answer (5.15, mldht): 50 and eight nodes stay below 1 024 bytes (32.3).
pub const VALUES_MAX: usize = 50;
/// The same for peers of IPv6.
pub const VALUES_MAX_V6: usize = 25;

/// The closest nodes found, nearest first; at most [`K`].
#[derive(Clone, Copy, Debug)]
pub struct Closest {
    found: [(u128, u32); K],
    len: usize,
}

impl Closest {
    fn new() -> Self {
        Self { found: [(u128::MAX, u32::MAX); K], len: 0 }
    }

    fn offer(&mut self, distance: u128, node: u32) {
        if self.len == K && distance >= self.found[K - 1].0 {
            return;
        }
        let at = self.found[..self.len].partition_point(|&(other, _)| other < distance);
        self.len = (self.len + 1).min(K);
        self.found[at..self.len].rotate_right(1);
        self.found[at] = (distance, node);
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Node numbers, nearest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.found[..self.len].iter().map(|&(_, node)| node)
    }
}

/// The leading 128 bits of a point: enough to order nodes by distance.
fn head(id: Id) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&id.0[..16]);
    u128::from_be_bytes(bytes)
}

/// Some of the nodes, in ascending order of id.
#[derive(Clone, Debug)]
pub struct Population {
    /// Leading bits of each id, ascending.
    heads: Vec<u128>,
    /// The node's number in the world.
    numbers: Vec<u32>,
}

impl Population {
    /// The nodes that `numbered` names, which come in ascending order of id.
    pub fn new(numbered: impl Iterator<Item = (NodeId, u32)>) -> Self {
        let (heads, numbers): (Vec<_>, Vec<_>) =
            numbered.map(|(id, number)| (head(id.id()), number)).unzip();
        debug_assert!(heads.is_sorted());
        Self { heads, numbers }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The true closest nodes to `target`.
    pub fn closest(&self, target: Id) -> Closest {
        self.closest_to(head(target))
    }

    fn closest_to(&self, target: u128) -> Closest {
        let mut range = 0..self.heads.len();
        // Everything that shares a longer prefix is nearer than all that does not.
        for bit in 0..128 {
            let (same, _) = self.halves(range.clone(), bit, target >> (127 - bit) & 1 == 1);
            if same.len() < K {
                break;
            }
            range = same;
        }
        let mut closest = Closest::new();
        for at in range {
            closest.offer(self.heads[at] ^ target, self.numbers[at]);
        }
        closest
    }

    /// Splits a range of equal prefix at `bit` into the half whose bit is `set` and the other.
    fn halves(&self, range: Range<usize>, bit: u32, set: bool) -> (Range<usize>, Range<usize>) {
        let ones = self.heads[range.clone()].partition_point(|head| head >> (127 - bit) & 1 == 0);
        let middle = range.start + ones;
        let (low, high) = (range.start..middle, middle..range.end);
        if set { (high, low) } else { (low, high) }
    }

    /// Appends the routing table of the node at place `own`: up to [`K`] contacts of each bucket,
    /// drawn from all that belong there, down to its very neighbours.
    fn draw_table(&self, own: usize, draw: &mut fastrand::Rng, out: &mut Vec<u32>) {
        let mut range = 0..self.heads.len();
        for bit in 0..128 {
            if range.len() <= 1 {
                break;
            }
            let (mine, bucket) = self.halves(range, bit, self.heads[own] >> (127 - bit) & 1 == 1);
            self.draw_bucket(bucket, draw, out);
            range = mine;
        }
    }

    /// The closest to `target` in a table drawn for `own`, who need not be among the population:
    /// as [`Tables::closest`], for tables that are not kept.
    pub fn closest_known(&self, own: NodeId, draw: &mut fastrand::Rng, target: Id) -> Closest {
        let (own, target) = (head(own.id()), head(target));
        let mut closest = Closest::new();
        let mut range = 0..self.heads.len();
        for bit in 0..128 {
            let (mine, bucket) = self.halves(range, bit, own >> (127 - bit) & 1 == 1);
            let mut chosen = [usize::MAX; K];
            for at in 0..K.min(bucket.len()) {
                let mut place = bucket.start + at;
                while bucket.len() > K && (at == 0 || chosen[..at].contains(&place)) {
                    place = draw.usize(bucket.clone());
                    if !chosen[..at].contains(&place) {
                        break;
                    }
                }
                chosen[at] = place;
                closest.offer(self.heads[place] ^ target, self.numbers[place]);
            }
            range = mine;
            if range.is_empty() {
                break;
            }
        }
        closest
    }

    /// Which of `keys` are so close to `own` that fewer than [`K`] of this population are closer,
    /// itself not counted; ascending.
    pub fn attracted(&self, own: NodeId, keys: &Self) -> Vec<u32> {
        let own = head(own.id());
        let (mut near, mut candidates) = (0..self.heads.len(), 0..keys.heads.len());
        for bit in 0..128 {
            let set = own >> (127 - bit) & 1 == 1;
            let (mine, others) = self.halves(near.clone(), bit, set);
            // Keys beyond a full half have enough neighbours of their own; so have, from some
            // depth on, only those of one's own half.
            if others.len() < K || mine.is_empty() {
                break;
            }
            near = mine;
            (candidates, _) = keys.halves(candidates, bit, set);
        }
        let attracted = |&at: &usize| {
            let key = keys.heads[at];
            let closest = self.closest_to(key);
            let nearer = closest.found[..closest.len].iter().filter(|found| found.0 < key ^ own);
            nearer.count() < K
        };
        let mut found: Vec<u32> = candidates.filter(attracted).map(|at| keys.numbers[at]).collect();
        found.sort_unstable();
        found
    }

    fn draw_bucket(&self, bucket: Range<usize>, draw: &mut fastrand::Rng, out: &mut Vec<u32>) {
        let start = out.len();
        if bucket.len() <= K {
            out.extend_from_slice(&self.numbers[bucket]);
            return;
        }
        while out.len() < start + K {
            let number = self.numbers[draw.usize(bucket.clone())];
            if !out[start..].contains(&number) {
                out.push(number);
            }
        }
    }
}

/// The routing tables of a whole population, side by side.
#[derive(Clone, Debug)]
pub struct Tables {
    contacts: Vec<u32>,
    /// Where the table of each place starts; one more than there are tables.
    starts: Vec<u32>,
}

impl Tables {
    /// Draws a table for every node; `draw_of` gives each its own dice.
    pub fn draw(population: &Population, mut draw_of: impl FnMut(u32) -> fastrand::Rng) -> Self {
        let mut tables = Self { contacts: Vec::new(), starts: vec![0] };
        for place in 0..population.len() {
            let mut draw = draw_of(population.numbers[place]);
            population.draw_table(place, &mut draw, &mut tables.contacts);
            tables.starts.push(tables.contacts.len() as u32);
        }
        tables
    }

    /// What the node at `place` knows.
    pub fn contacts(&self, place: u32) -> &[u32] {
        let place = place as usize;
        &self.contacts[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    /// The closest to `target` among what the node at `place` knows. `population` is the one the
    /// tables were drawn from, numbered by place.
    pub fn closest(&self, population: &Population, place: u32, target: Id) -> Closest {
        let target = head(target);
        let mut closest = Closest::new();
        for &contact in self.contacts(place) {
            closest.offer(population.heads[contact as usize] ^ target, contact);
        }
        closest
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn population(ids: &BTreeSet<[u8; 20]>) -> Population {
        Population::new(ids.iter().enumerate().map(|(n, id)| (NodeId(*id), n as u32)))
    }

    fn by_sorting(ids: &BTreeSet<[u8; 20]>, among: &[u32], target: Id) -> Vec<u32> {
        let ids: Vec<_> = ids.iter().copied().collect();
        let mut sorted = among.to_vec();
        sorted.sort_by_key(|&n| Id(ids[n as usize]).distance(target));
        sorted.truncate(K);
        sorted
    }

    /// Ids that crowd together share long prefixes.
    fn crowded() -> impl Strategy<Value = BTreeSet<[u8; 20]>> {
        let id = (any::<[u8; 3]>(), any::<u8>()).prop_map(|(head, mask)| {
            let mut id = [0x55; 20];
            id[0] = head[0] & mask;
            id[1] = head[1];
            id[2] = head[2];
            id
        });
        prop::collection::btree_set(id, 1..300)
    }

    proptest! {
        #[test]
        fn the_true_closest_are_those_that_sorting_finds(
            ids in crowded(), target in any::<[u8; 20]>()
        ) {
            let all: Vec<u32> = (0..ids.len() as u32).collect();
            let found: Vec<_> = population(&ids).closest(Id(target)).iter().collect();
            prop_assert_eq!(found, by_sorting(&ids, &all, Id(target)));
        }

        #[test]
        fn a_table_holds_full_buckets_and_answers_with_its_closest(
            ids in crowded(), target in any::<[u8; 20]>(), seed in any::<u64>()
        ) {
            let population = population(&ids);
            let tables = Tables::draw(&population, |n| crate::world::draw::draw(seed, "t", u64::from(n)));
            let list: Vec<_> = ids.iter().copied().map(Id).collect();
            for own in 0..list.len() as u32 {
                let contacts = tables.contacts(own);
                let bucket = |n: u32| list[n as usize].common_prefix(list[own as usize]) as usize;
                let (mut exist, mut known) = ([0; 161], [0; 161]);
                (0..list.len() as u32).for_each(|n| exist[bucket(n)] += 1);
                contacts.iter().for_each(|&n| known[bucket(n)] += 1);
                let due: Vec<_> = exist[..160].iter().map(|&count: &usize| count.min(K)).collect();
                prop_assert_eq!(&known[..160], &due[..]);
                let distinct: BTreeSet<_> = contacts.iter().collect();
                prop_assert_eq!(distinct.len(), contacts.len());
                prop_assert!(!contacts.contains(&own));
                let found: Vec<_> = tables.closest(&population, own, Id(target)).iter().collect();
                prop_assert_eq!(found, by_sorting(&ids, contacts, Id(target)));
            }
        }
    }
}
