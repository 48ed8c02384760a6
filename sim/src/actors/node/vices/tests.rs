use std::collections::BTreeSet;

use estudely_core::AddressPolicy;
use estudely_core::krpc::{
    Ask, Envelope, ErrorReply, Oddity, Reply, Want, emit_method, emit_query,
};
use estudely_core::limits::LATE_UNTIL;

use super::*;
use crate::actors::node::Node;
use crate::world::scenario::{Families, Scenario};
use crate::world::universe::Universe;
use crate::world::vice::NodeVices;

/// Longest datagram that a liar sends.
const LIE_LEN_MAX: usize = 2_048;
const ASKER: NodeId = NodeId([9; 20]);

fn scenario(vice: NodeVice) -> Scenario {
    Scenario {
        families: Families::Both,
        nodes: 60,
        torrents: 150,
        hostile_nodes: 50,
        node_vices: NodeVices::of(&[vice]),
        ..Scenario::calm(11)
    }
}

fn now() -> Instant {
    Instant::START + Duration::from_secs(30)
}

/// One hostile node of one family and its asker.
struct Scene<'a> {
    world: &'a World,
    node: Node,
    number: u32,
    own: SocketAddr,
    asker: SocketAddr,
}

impl<'a> Scene<'a> {
    fn new(universe: &'a Universe, family: Family) -> Self {
        let world = universe.world(family).expect("a world");
        let number = (0..world.node_count())
            .filter(|&node| world.node_vice(node).is_some())
            .max_by_key(|&node| world.samples(node, 0).len())
            .expect("a hostile node");
        Self {
            world,
            node: Node::new(number),
            number,
            own: world.contact(number).addr,
            asker: universe.own(family).expect("an address"),
        }
    }

    fn ask(&mut self, ask: Ask) -> Vec<Sent> {
        let (mut query, mut sends) = (Vec::new(), Vec::new());
        let envelope =
            Envelope { transaction: b"abcdef", version: None, read_only: true, external: None };
        emit_query(&mut query, &envelope, ASKER, &ask, Want::UNSPECIFIED);
        self.node.handle(self.world, now(), self.asker, &query, &mut sends);
        let huge = self.world.node_vice(self.number) == Some(NodeVice::HugeDatagrams);
        for sent in &sends {
            let len = sent.payload.len();
            assert!(len <= LIE_LEN_MAX || huge, "{len} bytes");
            assert_eq!(sent.to, self.asker);
        }
        sends
    }

    fn find_node(&mut self) -> Vec<Sent> {
        self.ask(Ask::FindNode { target: Id([0x77; 20]) })
    }

    fn sample(&mut self) -> Vec<Sent> {
        self.ask(Ask::SampleInfohashes { target: Id([0x77; 20]) })
    }

    /// Asks for the peers of something that the node stores.
    fn get_peers(&mut self) -> Vec<Sent> {
        let stored = self.world.stored(now(), self.number)[0];
        self.ask(Ask::GetPeers { info_hash: self.world.key(stored) })
    }
}

fn contacts(sends: &[Sent]) -> Vec<Contact> {
    let reply = only_reply(sends);
    reply.nodes.chain(reply.nodes6).collect()
}

/// Plays in both families.
fn play(vice: NodeVice, mut act: impl FnMut(&mut Scene<'_>)) {
    let universe = Universe::build(&scenario(vice)).expect("a universe");
    for family in Family::ALL {
        act(&mut Scene::new(&universe, family));
    }
}

fn only(sends: &[Sent]) -> &Sent {
    assert_eq!(sends.len(), 1);
    &sends[0]
}

fn message(sent: &Sent) -> Message<'_> {
    Message::parse(&sent.payload).expect("a message")
}

fn reply_of(sent: &Sent) -> Reply<'_> {
    match message(sent).kind {
        Kind::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn only_reply(sends: &[Sent]) -> Reply<'_> {
    reply_of(only(sends))
}

fn error_of(sent: &Sent) -> ErrorReply<'_> {
    match message(sent).kind {
        Kind::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Whether it is a query, which may lack a transaction id (D21).
fn asks(sent: &Sent) -> bool {
    match Message::parse(&sent.payload) {
        Ok(message) => matches!(message.kind, Kind::Query(_)),
        Err(_) => sent.payload.windows(6).any(|window| window == b"1:y1:q"),
    }
}

fn is_refused(sends: &[Sent]) -> bool {
    Message::parse(&only(sends).payload).is_err()
}

#[test]
fn transactions_differ_in_bytes_and_length() {
    play(NodeVice::WrongTransaction, |scene| {
        let lens: BTreeSet<_> = (0..10)
            .map(|_| {
                let sends = scene.find_node();
                let payload = &only(&sends).payload;
                let message = Message::parse(payload).ok()?;
                assert_ne!(message.transaction, b"abcdef");
                Some(message.transaction.len())
            })
            .collect();
        assert!(lens.is_superset(&[None, Some(1), Some(2), Some(6)].into()), "{lens:?}");
    });
}

#[test]
fn answers_come_from_elsewhere() {
    play(NodeVice::OtherAddress, |scene| {
        let from = only(&scene.find_node()).from;
        assert!(from.ip() != scene.own.ip() && AddressPolicy::Public.admits(from));
    });
    play(NodeVice::OtherPort, |scene| {
        let from = only(&scene.find_node()).from;
        assert!(from.ip() == scene.own.ip() && from.port() != scene.own.port());
    });
}

#[test]
fn ids_change_reflect_or_are_odd() {
    play(NodeVice::ChangingId, |scene| {
        let ids: BTreeSet<_> = (0..3).map(|_| only_reply(&scene.find_node()).id).collect();
        assert_eq!(ids.len(), 3);
    });
    play(NodeVice::Reflector, |scene| assert_eq!(only_reply(&scene.find_node()).id, ASKER));
    play(NodeVice::OddId, |scene| {
        assert!((0..3).all(|_| is_refused(&scene.find_node())));
    });
}

#[test]
fn contacts_are_invented_anew_each_time_and_near_the_target() {
    play(NodeVice::InventedNodes, |scene| {
        let mut seen = BTreeSet::new();
        for _ in 0..5 {
            for contact in contacts(&scene.find_node()) {
                assert!(AddressPolicy::Public.admits_node(contact.addr));
                assert_eq!(scene.world.resident(contact.addr.ip()), None);
                assert_eq!(contact.id.0[..2], [0x77; 2]);
                assert!(seen.insert(contact));
            }
        }
        assert_eq!(seen.len(), 40);
    });
}

#[test]
fn a_crowd_of_contacts_fills_an_answer_and_leaves_room_for_nothing_else() {
    play(NodeVice::FloodedNodes, |scene| {
        let crowd = CROWD[scene.world.family().index()];
        let mut seen = BTreeSet::new();
        for sends in [scene.find_node(), scene.sample(), scene.get_peers()] {
            seen.extend(contacts(&sends));
            assert!(only_reply(&sends).samples.is_none());
            assert!(only(&sends).payload.len() > LIE_LEN_MAX - 200);
        }
        assert_eq!(seen.len(), 3 * crowd);
        assert!(seen.iter().all(|contact| scene.world.resident(contact.addr.ip()).is_none()));
    });
}

#[test]
fn a_question_comes_back_under_the_transaction_of_the_one_asked() {
    play(NodeVice::AsksBack, |scene| {
        for sends in [scene.find_node(), scene.sample()] {
            assert!(asks(only(&sends)));
            assert_eq!(message(only(&sends)).transaction, b"abcdef");
        }
    });
}

#[test]
fn contacts_are_the_node_and_the_asker() {
    play(NodeVice::SelfNodes, |scene| {
        let sends = scene.find_node();
        let named: BTreeSet<_> = contacts(&sends).iter().map(|c| c.addr).collect();
        assert_eq!(named, BTreeSet::from([scene.own, scene.asker]));
    });
}

#[test]
fn contacts_are_where_no_host_can_be() {
    play(NodeVice::MartianNodes, |scene| {
        let named = contacts(&scene.find_node());
        assert_eq!(named.len(), 8);
        assert!(named.iter().all(|contact| !AddressPolicy::Public.admits(contact.addr)));
    });
}

#[test]
fn contacts_share_one_address() {
    play(NodeVice::SybilNodes, |scene| {
        let named = contacts(&scene.find_node());
        let ips: BTreeSet<_> = named.iter().map(|contact| contact.addr.ip()).collect();
        let ids: BTreeSet<_> = named.iter().map(|contact| contact.id).collect();
        assert_eq!((ips.len(), ids.len()), (1, 8));
    });
}

#[test]
fn lists_end_in_a_fraction_of_an_entry() {
    play(NodeVice::RaggedNodes, |scene| {
        let sends = scene.find_node();
        assert!(message(only(&sends)).flags.contains(Oddity::Ragged));
    });
    play(NodeVice::RaggedSamples, |scene| {
        let sends = scene.sample();
        assert!(message(only(&sends)).flags.contains(Oddity::Ragged));
        let sends = scene.find_node();
        assert!(message(only(&sends)).flags.is_clean());
    });
}

#[test]
fn samples_are_random_or_too_many() {
    let count = |scene: &mut Scene<'_>| {
        let sends = scene.sample();
        let samples: Vec<_> = only_reply(&sends).samples.expect("samples").collect();
        let known = |key: &&_| scene.world.torrent_by_key(**key).is_some();
        (samples.len(), samples.iter().filter(known).count())
    };
    play(NodeVice::PoisonedSamples, |scene| assert_eq!(count(scene), (20, 0)));
    play(NodeVice::ManySamples, |scene| assert_eq!(count(scene), (SAMPLES, 20)));
}

#[test]
fn intervals_and_numbers_are_absurd() {
    play(NodeVice::BadInterval, |scene| {
        let said: Vec<_> = (0..4).map(|_| only_reply(&scene.sample()).interval).collect();
        assert_eq!(said, [Some(-1), Some(i64::MAX), None, None]);
    });
    play(NodeVice::ZeroInterval, |scene| {
        assert_eq!(only_reply(&scene.sample()).interval, Some(0));
    });
    play(NodeVice::AbsurdNum, |scene| {
        let said: Vec<_> = (0..2).map(|_| only_reply(&scene.sample()).num).collect();
        assert_eq!(said, [Some(-1), Some(i64::MAX)]);
    });
}

#[test]
fn values_are_flooded_odd_or_nodes() {
    play(NodeVice::FloodedValues, |scene| {
        let sends = scene.get_peers();
        let values: BTreeSet<_> = only_reply(&sends).values.collect();
        assert_eq!(values.len(), FLOOD[scene.world.family().index()]);
        assert!(values.iter().all(|addr| scene.world.resident(addr.ip()).is_none()));
    });
    play(NodeVice::OddValues, |scene| {
        for _ in 0..3 {
            let sends = scene.get_peers();
            let flags = message(only(&sends)).flags;
            assert!(
                flags.contains(Oddity::OddValues) || flags.contains(Oddity::Mistyped),
                "{flags:?}"
            );
        }
    });
    play(NodeVice::NodesAsValues, |scene| {
        let sends = scene.get_peers();
        let mut values = only_reply(&sends).values.peekable();
        assert!(values.peek().is_some());
        for addr in values {
            assert!(matches!(
                scene.world.resident_at(now(), addr),
                Some(crate::world::dht::Resident::Node(_))
            ));
        }
    });
}

#[test]
fn bencode_beyond_every_limit_is_refused() {
    for vice in [
        NodeVice::DeepBencode,
        NodeVice::TruncatedBencode,
        NodeVice::TokenFlood,
        NodeVice::HugeDatagrams,
    ] {
        play(vice, |scene| {
            for _ in 0..4 {
                assert!(is_refused(&scene.find_node()), "{vice:?}");
            }
        });
    }
    // Of its four shapes two are numbers, which have no range where nobody reads them (H4).
    play(NodeVice::AbsurdLengths, |scene| {
        let refused = (0..4).filter(|_| is_refused(&scene.find_node()));
        assert_eq!(refused.count(), 2);
    });
}

#[test]
fn a_flood_of_replies_holds_the_true_one_and_a_flood_of_queries_follows_it() {
    play(NodeVice::ReplyFlood, |scene| {
        let sends = scene.find_node();
        assert_eq!(sends.len() as u64, BURST + 2);
        let true_ones = sends.iter().filter(|sent| message(sent).transaction == b"abcdef");
        assert_eq!(true_ones.count(), 2);
    });
    play(NodeVice::QueryFlood, |scene| {
        let sends = scene.find_node();
        let queries = sends.iter().filter(|sent| asks(sent));
        assert_eq!(queries.count() as u64, BURST);
        assert_eq!(reply_of(&sends[0]).id, scene.world.contact(scene.number).id);
    });
}

#[test]
fn answers_are_late_or_end_for_ever() {
    play(NodeVice::Slow, |scene| {
        let waits: Vec<_> = (0..40).map(|_| only(&scene.find_node()).after).collect();
        assert!(waits.iter().all(|wait| *wait >= Duration::from_secs(7)));
        let still_read = waits.iter().filter(|wait| **wait < LATE_UNTIL).count();
        assert!((1..waits.len()).contains(&still_read), "{waits:?}");
    });
    play(NodeVice::FallsSilent, |scene| {
        let said: Vec<_> = (0..20).map(|_| scene.find_node().len()).collect();
        let last = said.iter().position(|&count| count == 0).expect("silence");
        assert!((2..8).contains(&last) && said[last..].iter().all(|&count| count == 0));
    });
}

#[test]
fn errors_are_all_codes_and_all_shapes() {
    play(NodeVice::Refuser, |scene| {
        let codes: Vec<_> = (0..4).map(|_| error_of(only(&scene.sample())).code).collect();
        assert_eq!(codes, [201, 202, 203, 204].map(Some));
    });
    play(NodeVice::OddErrors, |scene| {
        for code in [None, Some(202), None, None, None] {
            let sends = scene.find_node();
            let error = error_of(only(&sends));
            assert!(error.code == code || error.code == Some(202), "{error:?}");
        }
    });
}

#[test]
fn messages_are_of_no_kind_or_of_wrong_types() {
    play(NodeVice::OddKind, |scene| {
        assert!((0..3).all(|_| is_refused(&scene.find_node())));
    });
    play(NodeVice::WrongTypes, |scene| {
        let sends = scene.sample();
        assert!(message(only(&sends)).flags.contains(Oddity::Mistyped));
        assert!(only_reply(&sends).samples.is_none());
        assert!(is_refused(&scene.sample()));
    });
}

#[test]
fn untidy_and_legacy_answers_still_say_everything() {
    for vice in [NodeVice::Untidy, NodeVice::Legacy] {
        play(vice, |scene| {
            let sends = scene.sample();
            let answer = message(only(&sends));
            assert_eq!(answer.transaction, b"abcdef");
            if vice == NodeVice::Untidy {
                assert!(
                    answer.flags.contains(Oddity::Trailing) && !answer.flags.bencode.is_canonical()
                );
            }
            let reply = reply_of(&sends[0]);
            assert_eq!(reply.id, scene.world.contact(scene.number).id);
            assert_eq!(reply.samples.expect("samples").count(), 20);
            assert_eq!(contacts(&sends).len(), 8);
        });
    }
}

#[test]
fn every_vice_answers_every_method_and_the_same_each_time() {
    for &vice in NodeVice::ALL {
        play(vice, |scene| {
            let round = |scene: &mut Scene<'_>| {
                scene.node = Node::new(scene.number);
                let pings: Vec<_> = (0..2).flat_map(|_| scene.ask(Ask::Ping)).collect();
                [pings, scene.sample(), scene.get_peers(), scene.find_node()].concat()
            };
            let first = round(scene);
            assert!(first.len() >= 2, "{vice:?}");
            assert_eq!(round(scene), first, "{vice:?}");
        });
    }
}

#[test]
fn honest_nodes_ask_back_now_and_then_and_hushed_ones_say_nothing() {
    let scenario = Scenario { silent_s: 60, ..Scenario::calm(4) };
    let universe = Universe::build(&scenario).expect("a universe");
    let world = universe.world(Family::V4).expect("a world");
    let asker = universe.own(Family::V4).expect("an address");
    let (mut query, mut asked) = (Vec::new(), 0);
    let envelope =
        Envelope { transaction: b"abcdef", version: None, read_only: true, external: None };
    emit_method(&mut query, &envelope, ASKER, &Method::Ping, Want::UNSPECIFIED);
    let entry = world.bootstraps()[0];
    for number in (0..world.node_count()).filter(|number| !world.bootstraps().contains(number)) {
        let (mut node, mut sends) = (Node::new(number), Vec::new());
        (0..10).for_each(|_| node.handle(world, now(), asker, &query, &mut sends));
        asked += sends.iter().filter(|sent| asks(sent)).count();
    }
    assert!((20..150).contains(&asked), "{asked}");
    let (mut node, mut sends) = (Node::new(entry), Vec::new());
    node.handle(world, now(), asker, &query, &mut sends);
    assert!(sends.is_empty());
    node.handle(world, now() + Duration::from_secs(30), asker, &query, &mut sends);
    assert!(!sends.is_empty());
}
