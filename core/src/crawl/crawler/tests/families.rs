//! What one address family lacks never holds up the other.

use std::net::SocketAddr;

use super::stage::{Query, Stage, body, node};
use super::world::World;
use super::*;
use crate::base::addr::Contact;
use crate::base::time::Duration;
use crate::dht::walks::Turn;
use crate::lead::Request;
use crate::limits::SUSPECT_UNHEARD;

fn at_v6(n: u8) -> Contact {
    Contact { addr: SocketAddr::from(([0x2a00, n.into(), 1, 1, 1, 1, 1, 1], 6_881)), ..node(n) }
}

#[test]
fn a_paused_walk_gives_up_its_place_although_the_family_without_nodes_has_room() {
    let mut world = World::new(3, 40);
    world.config.own[1] = Some(SocketAddr::from(([0x2a00, 9, 0, 0, 0, 0, 0, 9], 6_881)));
    world.requests = vec![(InfoHash([7; 20]), vec![])];
    world.crawl(Mode::Fetch, Duration::from_millis(100));
    let crawler = &mut world.crawler;
    let job = crawler.jobs.find(InfoHash([7; 20])).expect("under way");
    let network = crawler.networks[0].as_mut().expect("it is on");
    let (paused, _) = network.walks.iter().next().expect("under way");
    network.walks.pause(paused);
    while network.walks.has_room(Turn::InOrder) {
        let seed = [node(1)].into_iter();
        assert!(
            network
                .walks
                .begin(
                    crawler.now,
                    (job, InfoHash([7; 20])),
                    Turn::InOrder,
                    seed,
                    std::iter::empty()
                )
                .is_some()
        );
    }
    let full = network.walks.iter().count();
    let other = InfoHash([8; 20]);
    crawler.handle_request(world.now, &Request::new(other, [])).expect("room");
    let job = crawler.jobs.find(other).expect("under way");
    assert!(crawler.jobs.walks(job).any(|(family, _)| family == Family::V4), "it has its walk");
    let walks = &crawler.networks[0].as_ref().expect("it is on").walks;
    assert_eq!((walks.job(paused), walks.iter().count()), (None, full));
    // None is paused any more: the next one waits, and nothing goes round in circles.
    let third = InfoHash([9; 20]);
    crawler.handle_request(world.now, &Request::new(third, [])).expect("room");
    let job = crawler.jobs.find(third).expect("under way");
    assert_eq!(crawler.jobs.walks(job).count(), 0);
}

#[test]
fn a_family_without_contacts_leaves_the_probe_of_an_outage_to_the_other() {
    let mut stage = Stage::new(Mode::Crawl);
    let first = stage.begin(at_v6(1));
    stage.answer(&first, &body(at_v6(1)));
    stage.asked();
    stage.now = stage.now + Duration::from_secs(10);
    (0..SUSPECT_UNHEARD).for_each(|_| stage.crawler.outage.on_silence(stage.now));
    let probed =
        stage.asked().iter().any(|asked| asked.kind == Query::Other && asked.to == at_v6(1).addr);
    assert!(probed, "the only contact is asked whether the network is there");
}
