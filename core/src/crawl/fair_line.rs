//! A line in which the next is taken of the source with the least debt, not of the one that filled
//! it. Must never lose what waits, and never let what the user asked for stand behind hearsay.
//!
//! Each sponsor has a lane; equals take turns. Lanes are ordered by what their sponsors owed when
//! that was looked at last: a debt that has grown is noticed when its lane comes first, and one
//! that has become less by [`FairLine::on_paid`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::store::{KeyedMap, KeyedState};
use crate::crawl::standing::{Sponsor, Standing};
use crate::limits::{LEADS_COUNTED, SECOND_CHANCE_TURNS};

/// On whose behalf something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behalf {
    /// The user's: before all hearsay.
    Order,
    /// An earlier round's or an earlier run's: in turn with what is heard of now.
    Turn,
    /// This node named it.
    Hearsay(Sponsor),
}

/// Where hearsay waits: good until it is taken or withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// Ends a chain.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Link<T> {
    item: Option<T>,
    lane: u32,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    sponsor: Sponsor,
    first: u32,
    last: u32,
    len: u32,
    /// Whether its sponsor is in such debt that what it named counts for nothing.
    is_poor: bool,
    /// Its debt as it was looked at last, and its number among the turns: its place in the order.
    place: (i64, u64),
}

impl Lane {
    /// How many of it count.
    fn counted(&self) -> usize {
        if self.is_poor { 0 } else { self.len.min(LEADS_COUNTED) as usize }
    }
}

/// Where the next one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Order,
    Turn,
    Lane(u32),
}

/// See the module. `T` is what waits.
#[derive(Debug)]
pub(crate) struct FairLine<T> {
    weigh: fn(&Standing, Sponsor) -> i64,
    orders: VecDeque<T>,
    turns: VecDeque<T>,
    links: Vec<Link<T>>,
    free_link: u32,
    lanes: Vec<Lane>,
    free_lanes: Vec<u32>,
    by_sponsor: KeyedMap<Sponsor, u32>,
    /// Places of lanes; one that is not its lane's place any more is passed over.
    order: BinaryHeap<Reverse<((i64, u64), u32)>>,
    /// How many wait in lanes, and of these the first few of each.
    in_lanes: usize,
    counted: usize,
    /// Turns given so far.
    turn: u64,
    /// Taken since one of the turns was.
    since_turn: u8,
    halvings: u64,
}

impl<T> FairLine<T> {
    /// An empty line, ordered by what `weigh` says that a sponsor owes.
    pub(crate) fn new(rng: &mut Rng, weigh: fn(&Standing, Sponsor) -> i64) -> Self {
        Self {
            weigh,
            orders: VecDeque::new(),
            turns: VecDeque::new(),
            links: Vec::new(),
            free_link: NONE,
            lanes: Vec::new(),
            free_lanes: Vec::new(),
            by_sponsor: KeyedMap::with_hasher(KeyedState::new(rng)),
            order: BinaryHeap::new(),
            in_lanes: 0,
            counted: 0,
            turn: 0,
            since_turn: 0,
            halvings: 0,
        }
    }

    /// Lets `item` wait. Hearsay can be found by the place that is returned, as long as it waits.
    pub(crate) fn push(&mut self, standing: &Standing, behalf: Behalf, item: T) -> Option<Place> {
        match behalf {
            _ if planted::is(Bug::FirstComeFirstServed) => self.orders.push_back(item),
            Behalf::Order => self.orders.push_back(item),
            Behalf::Turn => self.turns.push_back(item),
            Behalf::Hearsay(sponsor) => return Some(self.push_in_lane(standing, sponsor, item)),
        }
        None
    }

    /// What waits at a place, and whose lane that is.
    pub(crate) fn at(&mut self, Place(link): Place) -> Option<(&mut T, Sponsor)> {
        let link = self.links.get_mut(link as usize)?;
        let sponsor = self.lanes.get(link.lane as usize)?.sponsor;
        link.item.as_mut().map(|item| (item, sponsor))
    }

    /// Takes out what waits at a place.
    pub(crate) fn withdraw(&mut self, Place(link): Place) -> Option<T> {
        self.links.get(link as usize)?.item.as_ref()?;
        self.unlink(link)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.orders.len() + self.turns.len() + self.in_lanes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait, of each sponsor a few at most, and none of one that is deep in debt.
    pub(crate) fn fair_len(&self) -> usize {
        self.orders.len() + self.turns.len() + self.counted
    }

    /// How many wait that `sponsor` named.
    pub(crate) fn backlog(&self, sponsor: Sponsor) -> usize {
        let lane = self.by_sponsor.get(&sponsor).map(|lane| &self.lanes[*lane as usize]);
        lane.map_or(0, |lane| lane.len as usize)
    }

    /// How many wait that are not hearsay.
    pub(crate) fn others(&self) -> usize {
        self.orders.len() + self.turns.len()
    }

    /// The least debt for which hearsay waits. To be exact, [`FairLine::sort`] comes before.
    pub(crate) fn least_debt(&self) -> Option<i64> {
        self.order.peek().map(|Reverse(((debt, _), _))| *debt)
    }

    /// The next one that `lives`, and the debt of its sponsor; those before it that do not are
    /// gone.
    pub(crate) fn front(
        &mut self,
        standing: &Standing,
        lives: impl Fn(&T) -> bool,
    ) -> Option<(&T, i64)> {
        match self.next(standing, lives)? {
            Next::Order => self.orders.front().map(|item| (item, i64::MIN)),
            Next::Turn => self.turns.front().map(|item| (item, 0)),
            Next::Lane(lane) => {
                let lane = &self.lanes[lane as usize];
                let item = self.links[lane.first as usize].item.as_ref()?;
                Some((item, lane.place.0))
            }
        }
    }

    /// Takes the next one that `lives`.
    pub(crate) fn pop(&mut self, standing: &Standing, lives: impl Fn(&T) -> bool) -> Option<T> {
        let next = self.next(standing, lives)?;
        self.since_turn = if next == Next::Turn { 0 } else { self.since_turn.saturating_add(1) };
        match next {
            Next::Order => self.orders.pop_front(),
            Next::Turn => self.turns.pop_front(),
            Next::Lane(lane) => self.take_in_turn(standing, lane),
        }
    }

    /// Takes the first one of the lane that comes first, before what is not hearsay.
    pub(crate) fn pop_lane(&mut self, standing: &Standing) -> Option<T> {
        self.sort(standing);
        let Reverse((_, lane)) = *self.order.peek()?;
        self.take_in_turn(standing, lane)
    }

    fn take_in_turn(&mut self, standing: &Standing, lane: u32) -> Option<T> {
        let item = self.take_first(lane);
        self.recount(standing, lane);
        self.turn += 1;
        let debt = (self.weigh)(standing, self.lanes[lane as usize].sponsor);
        self.place(lane, (debt, self.turn));
        self.sort(standing);
        item
    }

    /// What waits that `sponsor` named, the first one first.
    pub(crate) fn of(&self, sponsor: Sponsor) -> impl Iterator<Item = &T> {
        let lane = self.by_sponsor.get(&sponsor).map(|lane| self.lanes[*lane as usize].first);
        let link = |at: u32| self.links.get(at as usize);
        let links = std::iter::successors(lane.and_then(link), move |before| link(before.next));
        links.filter_map(|link| link.item.as_ref())
    }

    /// The debt of `sponsor` has changed.
    pub(crate) fn on_paid(&mut self, standing: &Standing, sponsor: Sponsor) {
        if let Some(lane) = self.by_sponsor.get(&sponsor).copied() {
            let (_, turn) = self.lanes[lane as usize].place;
            self.recount(standing, lane);
            self.place(lane, ((self.weigh)(standing, sponsor), turn));
            self.sort(standing);
        }
    }

    /// Brings the first place of the order up to date.
    pub(crate) fn sort(&mut self, standing: &Standing) {
        if self.halvings != standing.halvings() {
            self.halvings = standing.halvings();
            self.sort_all(standing);
        }
        while let Some(&Reverse((place, index))) = self.order.peek() {
            let lane = self.lanes[index as usize];
            if lane.len == 0 || lane.place != place {
                self.order.pop();
                continue;
            }
            let debt = (self.weigh)(standing, lane.sponsor);
            if debt <= place.0 {
                return;
            }
            self.order.pop();
            self.recount(standing, index);
            self.place(index, (debt, place.1));
        }
    }

    /// Drops those that do not live.
    pub(crate) fn retain(&mut self, lives: impl Fn(&T) -> bool) {
        self.orders.retain(&lives);
        self.turns.retain(&lives);
        for index in 0..self.lanes.len() as u32 {
            let lane = &mut self.lanes[index as usize];
            self.counted -= lane.counted();
            let waiting = std::mem::take(&mut lane.len);
            let mut at = std::mem::replace(&mut lane.first, NONE);
            lane.last = NONE;
            self.in_lanes -= waiting as usize;
            for _ in 0..waiting {
                let next = self.links[at as usize].next;
                if self.links[at as usize].item.as_ref().is_some_and(&lives) {
                    self.append(index, at);
                } else {
                    self.free(at);
                }
                at = next;
            }
            if waiting > 0 && self.lanes[index as usize].len == 0 {
                self.close(index);
            }
        }
    }

    /// Everything that waits, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let in_lanes = self.links.iter().filter_map(|link| link.item.as_ref());
        self.orders.iter().chain(&self.turns).chain(in_lanes)
    }

    fn next(&mut self, standing: &Standing, lives: impl Fn(&T) -> bool) -> Option<Next> {
        while self.orders.front().is_some_and(|item| !lives(item)) {
            self.orders.pop_front();
        }
        while self.turns.front().is_some_and(|item| !lives(item)) {
            self.turns.pop_front();
        }
        if !self.orders.is_empty() {
            return Some(Next::Order);
        }
        let turn = (!self.turns.is_empty()).then_some(Next::Turn);
        if turn.is_some() && self.since_turn >= SECOND_CHANCE_TURNS - 1 {
            return turn;
        }
        loop {
            self.sort(standing);
            let Some(&Reverse((_, index))) = self.order.peek() else { return turn };
            let first = self.lanes[index as usize].first;
            if self.links[first as usize].item.as_ref().is_some_and(&lives) {
                return Some(Next::Lane(index));
            }
            self.take_first(index);
        }
    }

    fn push_in_lane(&mut self, standing: &Standing, sponsor: Sponsor, item: T) -> Place {
        let link = match self.links.get_mut(self.free_link as usize) {
            Some(free) => {
                let at = self.free_link;
                self.free_link = free.next;
                free.item = Some(item);
                at
            }
            None => {
                let ends = Link { item: Some(item), lane: NONE, previous: NONE, next: NONE };
                self.links.push(ends);
                (self.links.len() - 1) as u32
            }
        };
        let lane = match self.by_sponsor.get(&sponsor) {
            Some(lane) => *lane,
            None => self.open(standing, sponsor),
        };
        self.append(lane, link);
        self.sort(standing);
        Place(link)
    }

    fn open(&mut self, standing: &Standing, sponsor: Sponsor) -> u32 {
        let is_poor = standing.is_deep_in_debt(sponsor);
        let empty = Lane { sponsor, first: NONE, last: NONE, len: 0, is_poor, place: (0, 0) };
        let index = match self.free_lanes.pop() {
            Some(index) => {
                self.lanes[index as usize] = empty;
                index
            }
            None => {
                self.lanes.push(empty);
                (self.lanes.len() - 1) as u32
            }
        };
        self.by_sponsor.insert(sponsor, index);
        self.turn += 1;
        self.lanes[index as usize].place = ((self.weigh)(standing, sponsor), self.turn);
        self.order.push(Reverse((self.lanes[index as usize].place, index)));
        index
    }

    fn append(&mut self, index: u32, link: u32) {
        let lane = &mut self.lanes[index as usize];
        let last = if lane.len > 0 { lane.last } else { NONE };
        let entry = &mut self.links[link as usize];
        (entry.lane, entry.previous, entry.next) = (index, last, NONE);
        match self.links.get_mut(last as usize) {
            Some(last) => last.next = link,
            None => lane.first = link,
        }
        lane.last = link;
        self.counted -= lane.counted();
        lane.len += 1;
        self.counted += lane.counted();
        self.in_lanes += 1;
    }

    fn take_first(&mut self, index: u32) -> Option<T> {
        self.unlink(self.lanes[index as usize].first)
    }

    fn unlink(&mut self, link: u32) -> Option<T> {
        let Link { lane: index, previous, next, .. } = self.links[link as usize];
        let lane = &mut self.lanes[index as usize];
        match self.links.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => lane.first = next,
        }
        match self.links.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            None => lane.last = previous,
        }
        self.counted -= lane.counted();
        lane.len -= 1;
        self.counted += lane.counted();
        self.in_lanes -= 1;
        if lane.len == 0 {
            self.close(index);
        }
        self.free(link)
    }

    /// A lane is empty.
    fn close(&mut self, index: u32) {
        self.by_sponsor.remove(&self.lanes[index as usize].sponsor);
        self.free_lanes.push(index);
        self.tidy();
    }

    fn free(&mut self, link: u32) -> Option<T> {
        let freed = &mut self.links[link as usize];
        freed.next = self.free_link;
        self.free_link = link;
        freed.item.take()
    }

    /// Looks again whether what waits in a lane counts.
    fn recount(&mut self, standing: &Standing, index: u32) {
        let lane = &mut self.lanes[index as usize];
        self.counted -= lane.counted();
        lane.is_poor = standing.is_deep_in_debt(lane.sponsor);
        self.counted += lane.counted();
    }

    /// Gives a lane, unless it is empty, a place in the order.
    fn place(&mut self, index: u32, place: (i64, u64)) {
        let lane = &mut self.lanes[index as usize];
        if lane.len == 0 || lane.place == place {
            return;
        }
        lane.place = place;
        self.order.push(Reverse((place, index)));
        self.tidy();
    }

    /// Places that are not their lane's any more, beyond one for each lane.
    const STALE_MAX: usize = 64;

    fn tidy(&mut self) {
        if self.order.len() <= Self::STALE_MAX + 2 * self.by_sponsor.len() {
            return;
        }
        let lanes = &self.lanes;
        self.order.retain(|Reverse((place, index))| {
            let lane = lanes[*index as usize];
            lane.len > 0 && lane.place == *place
        });
    }

    fn sort_all(&mut self, standing: &Standing) {
        self.order.clear();
        let weigh = self.weigh;
        for (index, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.len > 0) {
            lane.place.0 = weigh(standing, lane.sponsor);
            self.order.push(Reverse((lane.place, index as u32)));
            self.counted -= lane.counted();
            lane.is_poor = standing.is_deep_in_debt(lane.sponsor);
            self.counted += lane.counted();
        }
    }

    pub(crate) fn check(&self) {
        let waiting: usize = self.lanes.iter().map(|lane| lane.len as usize).sum();
        assert_eq!(waiting, self.in_lanes, "what waits in lanes is counted");
        assert_eq!(self.lanes.iter().map(Lane::counted).sum::<usize>(), self.counted);
        let open = self.lanes.iter().filter(|lane| lane.len > 0).count();
        assert_eq!(open, self.by_sponsor.len(), "a lane is open as long as something waits");
        assert_eq!(self.links.iter().filter(|link| link.item.is_some()).count(), waiting);
        assert!(self.order.len() <= Self::STALE_MAX + 2 * self.by_sponsor.len());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::*;
    use crate::base::rng::Seed;
    use crate::base::time::Duration;

    fn line() -> FairLine<u32> {
        FairLine::new(&mut Rng::new(Seed::from_u64(1)), Standing::debt)
    }

    fn sponsor(standing: &Standing, net: u8) -> Sponsor {
        standing.sponsor(SocketAddr::from(([20, 0, net, 1], 6_881)))
    }

    fn drain(line: &mut FairLine<u32>, standing: &Standing) -> Vec<u32> {
        std::iter::from_fn(|| line.pop(standing, |_| true)).collect()
    }

    /// Everything that `lives`, half of it after the dead were cleared away.
    fn drain_living(
        mut line: FairLine<u32>,
        standing: &Standing,
        lives: impl Fn(&u32) -> bool,
    ) -> Vec<u32> {
        let half = line.len() / 2;
        let pop = |line: &mut FairLine<u32>| line.pop(standing, &lives);
        let mut taken: Vec<u32> = (0..half / 3).map_while(|_| pop(&mut line)).collect();
        line.retain(&lives);
        line.check();
        taken.extend(std::iter::from_fn(|| pop(&mut line)));
        line.check();
        taken
    }

    #[test]
    fn sources_take_turns_however_much_one_of_them_brings() {
        let (mut line, standing) = (line(), Standing::blank());
        for n in 0..5 {
            line.push(&standing, Behalf::Hearsay(sponsor(&standing, 1)), n);
        }
        line.push(&standing, Behalf::Hearsay(sponsor(&standing, 2)), 10);
        line.push(&standing, Behalf::Hearsay(sponsor(&standing, 3)), 20);
        assert_eq!(drain(&mut line, &standing), [0, 10, 20, 1, 2, 3, 4]);
    }

    #[test]
    fn whoever_owes_less_comes_first_also_if_that_changes_while_it_waits() {
        let (mut line, mut standing) = (line(), Standing::blank());
        let [a, b] = [1, 2].map(|net| sponsor(&standing, net));
        for n in 0..3 {
            line.push(&standing, Behalf::Hearsay(a), n);
            line.push(&standing, Behalf::Hearsay(b), 10 + n);
        }
        standing.charge(a, Duration::from_secs(9));
        assert_eq!(line.pop(&standing, |_| true), Some(10));
        standing.charge(b, Duration::from_secs(20));
        assert_eq!(line.pop(&standing, |_| true), Some(0));
        standing.pay(b, Duration::from_secs(20));
        line.on_paid(&standing, b);
        assert_eq!(drain(&mut line, &standing), [11, 12, 1, 2]);
    }

    #[test]
    fn orders_come_first_and_earlier_rounds_have_every_fourth_turn() {
        let (mut line, standing) = (line(), Standing::blank());
        for n in 0..8 {
            line.push(&standing, Behalf::Hearsay(sponsor(&standing, 1)), n);
        }
        line.push(&standing, Behalf::Turn, 20);
        line.push(&standing, Behalf::Turn, 21);
        line.push(&standing, Behalf::Order, 30);
        let taken = drain(&mut line, &standing);
        assert_eq!(taken, [30, 0, 1, 20, 2, 3, 4, 21, 5, 6, 7]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_least_debt_is_served(
            steps in prop::collection::vec((0..6_u8, 0..6_u8, 1..30_u64), 1..300),
        ) {
            let (mut line, mut standing) = (line(), Standing::blank());
            let mut model: BTreeMap<Sponsor, Vec<u32>> = BTreeMap::new();
            let mut places: BTreeMap<u32, Place> = BTreeMap::new();
            for (n, (step, net, seconds)) in (0..).zip(steps) {
                let of = sponsor(&standing, net);
                match step {
                    0 | 1 => {
                        let place = line.push(&standing, Behalf::Hearsay(of), n);
                        places.insert(n, place.expect("a place in a lane"));
                        model.entry(of).or_default().push(n);
                    }
                    2 => standing.charge(of, Duration::from_secs(seconds)),
                    3 => {
                        standing.pay(of, Duration::from_secs(seconds));
                        line.on_paid(&standing, of);
                    }
                    4 => {
                        // One from anywhere in a lane.
                        let Some(waiting) = model.get_mut(&of) else { continue };
                        let item = waiting.remove(seconds as usize % waiting.len());
                        prop_assert_eq!(line.at(places[&item]), Some((&mut item.clone(), of)));
                        prop_assert_eq!(line.withdraw(places[&item]), Some(item));
                        model.retain(|_, waiting| !waiting.is_empty());
                    }
                    _ => {
                        let least = model.keys().map(|of| standing.debt(*of)).min();
                        let Some(taken) = line.pop(&standing, |_| true) else { continue };
                        let from = |(_, waiting): &(&Sponsor, &Vec<u32>)| waiting[0] == taken;
                        let of = model.iter().find(from).map(|(of, _)| *of);
                        let of = of.expect("the first of its lane");
                        prop_assert_eq!(Some(standing.debt(of)), least);
                        model.entry(of).or_default().remove(0);
                        model.retain(|_, waiting| !waiting.is_empty());
                    }
                }
                line.check();
            }
            let lives = |n: &u32| !n.is_multiple_of(3);
            let mut left: Vec<u32> = model.into_values().flatten().filter(lives).collect();
            let mut rest = drain_living(line, &standing, lives);
            left.sort_unstable();
            rest.sort_unstable();
            prop_assert_eq!(rest, left);
        }
    }
}
