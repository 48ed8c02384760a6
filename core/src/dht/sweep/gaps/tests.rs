//! Gaps alone: which nodes are asked about which place, and when no more is asked.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::base::addr::Contact;
use crate::base::id::NodeId;
use crate::base::rng::Seed;
use crate::base::time::Duration;

fn rng() -> Rng {
    Rng::new(Seed::from_u64(1))
}

fn node(n: u8) -> Contact {
    let id = NodeId([n.wrapping_mul(37); 20]);
    Contact { id, addr: SocketAddr::from(([20, n, 0, 1], 6_881)) }
}

fn landmarks(nodes: u8) -> Landmarks {
    let mut landmarks = Landmarks::default();
    (0..nodes).for_each(|n| landmarks.add(node(n)));
    landmarks
}

fn quiet(landmarks: &Landmarks, depth: u32) -> Setting<'_> {
    Setting { is_quiet: true, depth, landmarks }
}

#[test]
fn a_place_of_which_an_answer_told_is_no_gap() {
    let (known, mut rng, mut gaps) = (landmarks(1), rng(), Gaps::new());
    let mut asked = 0;
    while let NextGap::Ask(query) = gaps.poll(&quiet(&known, 3), &mut rng) {
        asked += 1;
        assert_eq!(gaps.on_answer(query, true, &known), None);
        gaps.on_ended();
    }
    assert_eq!(asked, 16, "of each finer look only the halves of which nothing was told");
}

#[test]
fn nothing_is_asked_while_queries_are_quick_without_landmarks_or_before_a_restored_node_answers() {
    let (none, known, mut rng) = (Landmarks::default(), landmarks(3), rng());
    let busy = Setting { is_quiet: false, ..quiet(&known, 3) };
    let mut gaps = Gaps::new();
    for setting in [busy, quiet(&none, 3)] {
        assert!(!gaps.has_work(&setting));
        assert_eq!(gaps.poll(&setting, &mut rng), NextGap::None);
    }
    gaps.on_restored_rest();
    assert!(!gaps.has_work(&quiet(&known, 3)));
    assert_eq!(gaps.poll(&quiet(&known, 3), &mut rng), NextGap::None);
    gaps.on_reach_proven();
    assert!(gaps.has_work(&quiet(&known, 3)));
    assert!(matches!(gaps.poll(&quiet(&known, 3), &mut rng), NextGap::Ask(_)));
}

#[test]
fn a_look_once_begun_goes_on_while_queries_are_quick() {
    let (known, mut rng, mut gaps) = (landmarks(3), rng(), Gaps::new());
    let (calm, busy) = (quiet(&known, 4), Setting { is_quiet: false, ..quiet(&known, 4) });
    assert!(matches!(gaps.poll(&calm, &mut rng), NextGap::Ask(_)), "the whole keyspace");
    gaps.on_ended();
    assert!(matches!(gaps.poll(&calm, &mut rng), NextGap::Ask(_)), "one half");
    assert!(matches!(gaps.poll(&busy, &mut rng), NextGap::Ask(_)), "the other half");
    assert_eq!(gaps.poll(&busy, &mut rng), NextGap::None, "a finer look waits for both");
}

#[test]
fn the_keyspace_is_looked_at_again_when_its_time_has_come_and_one_bit_less_finely() {
    let (known, mut rng, mut gaps) = (landmarks(1), rng(), Gaps::new());
    let look = |gaps: &mut Gaps, rng: &mut Rng| {
        let mut asked = 0;
        while let NextGap::Ask(query) = gaps.poll(&quiet(&known, 2), rng) {
            assert_eq!(gaps.on_answer(query, true, &known), None);
            gaps.on_ended();
            asked += 1;
        }
        asked
    };
    assert_eq!(look(&mut gaps, &mut rng), 8);
    assert_eq!(gaps.looks_again_at(), Instant::START + Duration::from_secs(1_800));
    let almost = Instant::from_micros(gaps.looks_again_at().as_micros() - 1);
    gaps.look_again_if_due(almost);
    assert_eq!(look(&mut gaps, &mut rng), 0);
    gaps.look_again_if_due(almost + Duration::from_micros(1));
    assert_eq!(look(&mut gaps, &mut rng), 4);
}

#[test]
fn a_gap_is_asked_about_four_times_at_most_each_time_of_the_next_nearest_node() {
    let (known, mut rng, mut gaps) = (landmarks(9), rng(), Gaps::new());
    let NextGap::Ask(first) = gaps.poll(&quiet(&known, 3), &mut rng) else { panic!("a gap") };
    let (mut asked, mut query) = (vec![first.waiting.contact], first);
    loop {
        gaps.on_ended();
        let Some(next) = gaps.on_answer(query, false, &known) else { break };
        assert_eq!(next.target, first.target);
        asked.push(next.waiting.contact);
        query = next;
    }
    let mut nearest: Vec<Contact> = (0..9).map(node).collect();
    nearest.sort_unstable_by_key(|node| node.id.id().distance(first.target));
    assert_eq!(asked, nearest[..4]);
}

#[test]
fn sixty_four_questions_are_free_and_each_sign_of_life_pays_for_one_more() {
    let (known, mut rng, mut gaps) = (landmarks(1), rng(), Gaps::new());
    let all = |gaps: &mut Gaps, rng: &mut Rng| {
        let mut asked = 0;
        while let NextGap::Ask(_) = gaps.poll(&quiet(&known, 9), rng) {
            asked += 1;
            gaps.on_ended();
        }
        asked
    };
    assert_eq!(all(&mut gaps, &mut rng), 64);
    (0..3).for_each(|_| gaps.earn());
    assert_eq!(all(&mut gaps, &mut rng), 3);
    gaps.look_again_if_due(gaps.looks_again_at());
    assert_eq!(all(&mut gaps, &mut rng), 64);
}

#[test]
fn sixty_four_questions_are_on_their_way_at_once_and_no_more() {
    let (known, mut rng, mut gaps) = (landmarks(1), rng(), Gaps::new());
    (0..1_000).for_each(|_| gaps.earn());
    let (mut open, mut waits) = (0, 0);
    // The look at 64 places is over when all are asked about; the next one has more.
    while waits < 2 {
        let next = gaps.poll(&quiet(&known, 9), &mut rng);
        if let NextGap::Ask(_) = next {
            open += 1;
            continue;
        }
        if next == NextGap::Wait {
            waits += 1;
            assert_eq!(open, 64);
        }
        if waits < 2 {
            (0..open).for_each(|_| gaps.on_ended());
            open = 0;
        }
    }
    assert!(!gaps.has_work(&quiet(&known, 9)));
    gaps.on_ended();
    assert!(matches!(gaps.poll(&quiet(&known, 9), &mut rng), NextGap::Ask(_)));
}

proptest! {
    /// Answers that tell something, that tell nothing, silence, and signs of life, in any order.
    #[test]
    fn no_gap_is_asked_of_a_node_twice_nor_of_many_and_all_questions_are_paid_for(
        steps in prop::collection::vec((0_u8..6, any::<prop::sample::Index>()), 1..400),
        nodes in 1_u8..40,
        depth in 0_u32..9,
    ) {
        let (mut landmarks, mut rng, mut gaps) = (landmarks(nodes), rng(), Gaps::new());
        let mut on_their_way: Vec<SweepQuery> = Vec::new();
        let mut follow_ups: VecDeque<SweepQuery> = VecDeque::new();
        let mut asked: BTreeMap<Id, Vec<NodeId>> = BTreeMap::new();
        let (mut paid, mut sent) = (GAPS_FREE, 0);
        for (kind, which) in steps {
            match kind {
                0..=2 => {
                    let next = follow_ups.pop_front().map_or_else(
                        || gaps.poll(&quiet(&landmarks, depth), &mut rng),
                        NextGap::Ask,
                    );
                    let NextGap::Ask(query) = next else { continue };
                    let nodes = asked.entry(query.target).or_default();
                    prop_assert!(!nodes.contains(&query.waiting.contact.id), "none twice");
                    nodes.push(query.waiting.contact.id);
                    prop_assert!(nodes.len() <= usize::from(GAP_ASKED_MAX));
                    prop_assert_eq!(query.reason, Reason::Gap { before: nodes.len() as u8 - 1 });
                    on_their_way.push(query);
                    sent += 1;
                }
                _ if on_their_way.is_empty() => {
                    gaps.earn();
                    paid += 1;
                }
                _ => {
                    let query = on_their_way.swap_remove(which.index(on_their_way.len()));
                    gaps.on_ended();
                    let next = match kind {
                        3 => gaps.on_answer(query, true, &landmarks),
                        4 => gaps.on_answer(query, false, &landmarks),
                        _ => gaps.on_silence(query, &mut landmarks),
                    };
                    prop_assert!(kind != 3 || next.is_none(), "it was told of");
                    follow_ups.extend(next);
                }
            }
            gaps.check();
            prop_assert!(sent <= paid, "{} questions, {} paid for", sent, paid);
            let open = on_their_way.len() + follow_ups.len();
            prop_assert!(open <= GAPS_OPEN_MAX, "{} at once", open);
        }
    }
}
