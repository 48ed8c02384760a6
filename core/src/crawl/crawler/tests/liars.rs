//! Nodes that name whom they like: the crawl slows down, and neither hangs nor asks for ever.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::world::{Asks, NodeKind, Sent, World, node_addr};
use crate::base::addr::AddressPolicy;
use crate::base::time::Duration;
use crate::config::Mode;
use crate::crawl::crawler::Bootstrap;
use crate::limits::{COVERAGE_REST, GAPS_FREE, UNANSWERED_PASSES};

const LIARS: usize = 40;
const HOUR: Duration = Duration::from_secs(3_600);

/// An hour among liars alone, who all are bootstrap nodes.
fn an_hour_among_liars(bits: u32, policy: AddressPolicy, limits: Option<(u32, u32)>) -> World {
    let mut world = World::new(2, LIARS);
    world.nodes_mut().for_each(|node| node.kind = NodeKind::InventsContacts(bits));
    world.config.policy = policy;
    world.config.rate = limits.map(|limits| limits.0);
    world.config.new_flows = limits.map(|limits| limits.1);
    world.strict_deadlines = true;
    world.crawl(Mode::Crawl, Duration::ZERO);
    let liars: Vec<SocketAddr> = (0..LIARS).map(node_addr).collect();
    world.crawler.handle_bootstrap(world.now, &liars, Bootstrap::Node);
    world.resume(HOUR);
    world
}

/// What an hour may cost: a look at the start and one after half an hour, each into so many gaps
/// as are free, and one more for each answer of another kind; and of whoever was named, what any
/// silent address gets.
fn assert_bounded(world: &World, bits: u32) {
    let liars: BTreeSet<SocketAddr> = world.nodes().map(|node| node.addr()).collect();
    let count = |is_liar: bool, asks: Asks| {
        let of = |sent: &&Sent| liars.contains(&sent.to) == is_liar && sent.asks == asks;
        world.sent.iter().filter(of).count()
    };
    assert_eq!(count(true, Asks::Sample), LIARS, "{bits} bits: each once in six hours");
    let looks = (HOUR.as_secs() / COVERAGE_REST.as_secs()) as usize;
    // Each was asked at the start, and some are for the upkeep of the table.
    let contacts = count(true, Asks::FindNode);
    let most = looks * GAPS_FREE as usize + 3 * LIARS;
    assert!((LIARS..=most).contains(&contacts), "{bits} bits: {contacts} questions to liars");
    let heard = world.crawler.stats().contacts_heard as usize;
    let named = 8 * (contacts + LIARS);
    assert!((LIARS..=named).contains(&heard), "{bits} bits: {heard} heard of");
    let in_vain = count(false, Asks::Sample) + count(false, Asks::FindNode);
    let most = 2 * usize::from(UNANSWERED_PASSES) * heard;
    assert!((heard..=most).contains(&in_vain), "{bits} bits: {in_vain} for {heard} invented");
}

#[test]
fn contacts_invented_as_near_as_can_be_do_not_make_us_look_ever_more_finely() {
    for bits in [11, 32] {
        let world = an_hour_among_liars(bits, AddressPolicy::Public, Some((200, 1_800)));
        assert_bounded(&world, bits);
    }
}

#[test]
fn without_limits_liars_keep_us_no_busier_than_their_own_inventions_last() {
    let world = an_hour_among_liars(20, AddressPolicy::AllowPrivate, None);
    assert_bounded(&world, 20);
}
