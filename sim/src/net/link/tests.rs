use std::net::Ipv4Addr;

use super::*;

const PACKETS: usize = 20_000;

fn calm() -> Scenario {
    Scenario { broken_s: 1_000_000, spread_ms: 0, delay_ms: 10, ..Scenario::calm(42) }
}

fn link(scenario: &Scenario) -> Link {
    Link::new(scenario, Shard::WHOLE)
}

fn remote(number: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x2000_0000 + number as u32 * 7_919).into(), 6_881)
}

fn at(millis: u64) -> Instant {
    Instant::START + Duration::from_millis(millis)
}

fn heals(scenario: &Scenario) -> Instant {
    Instant::START + Duration::from_secs(scenario.broken_s.into())
}

/// One datagram each millisecond to 500 remotes in turn: for each, when it left and its fates.
fn run(link: &mut Link, from: Instant, direction: Direction) -> Vec<(Instant, Vec<Fate>)> {
    (0..PACKETS)
        .map(|n| {
            let now = from + Duration::from_millis(n as u64);
            (now, link.datagram(now, direction, remote(n % 500), 100 + n % 50).collect())
        })
        .collect()
}

fn share(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

#[test]
fn without_faults_each_datagram_arrives_once_after_the_delay() {
    let mut link = link(&calm());
    for (now, fates) in run(&mut link, at(0), Direction::Out) {
        assert_eq!(fates, [Fate { at: now + Duration::from_millis(10), flip: None }]);
    }
    let tally = link.tally(Direction::Out);
    assert_eq!(tally.sent, tally.delivered);
    assert_eq!(tally.sent.datagrams, PACKETS as u64);
    assert_eq!(link.tally(Direction::In), &LinkTally::default());
}

#[test]
fn random_loss_takes_its_share_of_each_direction() {
    let mut link = link(&Scenario { loss: 100, ..calm() });
    for direction in [Direction::Out, Direction::In] {
        run(&mut link, at(0), direction);
        let tally = link.tally(direction);
        assert!(tally.balances());
        let lost = share(tally.random.datagrams, tally.sent.datagrams);
        assert!((0.09..0.11).contains(&lost), "{lost}");
        assert_eq!(tally.all_lost(), tally.random);
    }
}

#[test]
fn certain_loss_lets_nothing_through() {
    let mut link = link(&Scenario { loss: 1_000, ..calm() });
    assert!(run(&mut link, at(0), Direction::In).iter().all(|(_, fates)| fates.is_empty()));
}

#[test]
fn a_burst_takes_all_of_its_route_for_as_long_as_it_lasts() {
    let scenario = Scenario { burst: 2, burst_ms: 200, ..calm() };
    let mut link = link(&scenario);
    // One remote, a datagram each millisecond: losses come in runs of 200 or more.
    let arrives: Vec<bool> = (0..PACKETS as u64)
        .map(|n| link.datagram(at(n), Direction::Out, remote(0), 100).next().is_some())
        .collect();
    let runs: Vec<_> = arrives.chunk_by(|a, b| a == b).collect();
    let bursts = &runs[..runs.len() - 1];
    let lengths: Vec<_> = bursts.iter().filter(|run| !run[0]).map(|run| run.len()).collect();
    assert!(lengths.len() >= 10, "{lengths:?}");
    assert!(lengths.iter().all(|&len| len >= 200), "{lengths:?}");
    assert!(link.tally(Direction::Out).balances());
    assert_eq!(link.tally(Direction::Out).all_lost(), link.tally(Direction::Out).burst);
}

#[test]
fn a_burst_on_one_route_leaves_the_others_alone() {
    let mut link = link(&Scenario { burst: 1_000, burst_ms: 10_000, ..calm() });
    let lone = remote(0);
    let other = (1..).map(remote).find(|r| route_of(r.ip()) != route_of(lone.ip())).expect("one");
    assert_eq!(link.datagram(at(0), Direction::Out, lone, 10).count(), 0);
    assert!(link.routes[route_of(lone.ip()) as usize].burst_until[0] == at(10_000));
    assert!(link.routes[route_of(other.ip()) as usize].burst_until[0] == at(0));
}

#[test]
fn the_spread_is_fixed_per_remote_and_fills_its_range() {
    let scenario = Scenario { spread_ms: 60, ..calm() };
    let mut link = link(&scenario);
    let mut seen = Vec::new();
    for n in 0..1_000 {
        let delay = link.path_delay(remote(n));
        for (direction, now) in [(Direction::Out, at(0)), (Direction::In, at(5_000))] {
            let fate = link.datagram(now, direction, remote(n), 100).next().expect("a fate");
            assert_eq!(fate.at, now + delay);
        }
        seen.push(delay);
    }
    let (least, most) = (seen.iter().min().expect("some"), seen.iter().max().expect("some"));
    assert!(*least >= Duration::from_millis(10) && *least < Duration::from_millis(12));
    assert!(*most <= Duration::from_millis(70) && *most > Duration::from_millis(68));
}

#[test]
fn jitter_is_drawn_for_each_packet_within_its_bound() {
    let mut link = link(&Scenario { jitter_ms: 20, ..calm() });
    let delays: Vec<_> = run(&mut link, at(0), Direction::In)
        .into_iter()
        .map(|(now, fates)| fates[0].at - now)
        .collect();
    let bound = Duration::from_millis(10)..=Duration::from_millis(30);
    assert!(delays.iter().all(|delay| bound.contains(delay)));
    let mean = delays.iter().sum::<Duration>() / PACKETS as u32;
    assert!(mean.abs_diff(Duration::from_millis(20)) < Duration::from_micros(300), "{mean:?}");
}

#[test]
fn duplicates_follow_their_originals_and_are_counted() {
    let mut link = link(&Scenario { duplicate: 100, ..calm() });
    let fates = run(&mut link, at(0), Direction::Out);
    let twice = fates.iter().filter(|(_, fates)| fates.len() == 2).count() as u64;
    assert!(fates.iter().all(|(_, fates)| fates.is_sorted_by_key(|fate| fate.at)));
    let tally = link.tally(Direction::Out);
    assert_eq!(tally.duplicated.datagrams, twice);
    assert_eq!(tally.delivered.datagrams, PACKETS as u64 + twice);
    assert!(tally.balances());
    assert!((0.09..0.11).contains(&share(twice, PACKETS as u64)));
}

#[test]
fn reordered_datagrams_are_overtaken_and_held_no_longer_than_the_bound() {
    let mut link = link(&Scenario { reorder: 100, ..calm() });
    let fates = run(&mut link, at(0), Direction::Out);
    let held = fates.iter().filter(|(now, fates)| fates[0].at - *now > Duration::from_millis(10));
    let held = share(held.count() as u64, PACKETS as u64);
    assert!((0.09..0.11).contains(&held), "{held}");
    let bound = Duration::from_millis(10) + HOLD_MAX;
    assert!(fates.iter().all(|(now, fates)| fates[0].at - *now <= bound));
    assert!(!fates.is_sorted_by_key(|(_, fates)| fates[0].at));
}

#[test]
fn corruption_changes_exactly_one_byte_of_its_share() {
    let mut link = link(&Scenario { corrupt: 100, ..calm() });
    let mut hits = 0;
    for n in 0..PACKETS {
        let original = [0x55; 120];
        let mut payload = original;
        let fate = link.datagram(at(n as u64), Direction::In, remote(n), 120).next();
        fate.expect("a fate").damage(&mut payload);
        let changed = payload.iter().zip(&original).filter(|(a, b)| a != b).count();
        assert!(changed <= 1);
        hits += changed as u64;
    }
    assert!((0.09..0.11).contains(&share(hits, PACKETS as u64)), "{hits}");
    // Nothing to change.
    let mut link = self::link(&Scenario { corrupt: 1_000, ..calm() });
    assert_eq!(link.datagram(at(0), Direction::In, remote(0), 0).next().expect("one").flip, None);
}

#[test]
fn what_is_longer_than_the_cap_is_lost_and_nothing_else() {
    let mut link = link(&Scenario { size_cap: 120, ..calm() });
    let fates = run(&mut link, at(0), Direction::Out);
    for (n, (_, fates)) in fates.iter().enumerate() {
        assert_eq!(fates.is_empty(), 100 + n % 50 > 120);
    }
    assert!(link.tally(Direction::Out).balances());
    assert_eq!(link.tally(Direction::Out).all_lost(), link.tally(Direction::Out).oversize);
}

#[test]
fn the_bottleneck_passes_its_bytes_a_second_and_drops_the_tail() {
    // 100 kB/s: a datagram of 1000 bytes takes 10 ms, the queue holds 250 ms of them.
    let mut link = link(&Scenario { bandwidth: 100_000, ..calm() });
    let together: Vec<_> =
        (0..40).flat_map(|n| link.datagram(at(0), Direction::Out, remote(n), 1_000)).collect();
    assert_eq!(together.len(), 25);
    for (n, fate) in together.iter().enumerate() {
        assert_eq!(fate.at, at(10 + 10 * (n as u64 + 1)));
    }
    assert_eq!(link.tally(Direction::Out).queue.datagrams, 15);
    // The other direction has a queue of its own, and this one is free again later.
    assert_eq!(link.datagram(at(0), Direction::In, remote(0), 1_000).count(), 1);
    assert_eq!(link.datagram(at(250), Direction::Out, remote(0), 1_000).count(), 1);
    // In the long run no more than its rate.
    let offered: usize =
        (1_000..11_000).map(|n| link.datagram(at(n), Direction::In, remote(0), 500).count()).sum();
    assert!((1_990..=2_060).contains(&offered), "{offered}");
    assert!(link.tally(Direction::In).balances());
}

#[test]
fn shards_share_the_bottleneck() {
    let scenario = Scenario { bandwidth: 100_000, ..calm() };
    let mut quarter = Link::new(&scenario, Shard { index: 0, count: 4 });
    let fate = quarter.datagram(at(0), Direction::Out, remote(0), 1_000).next().expect("a fate");
    assert_eq!(fate.at, at(50));
}

#[test]
fn partitions_last_their_minimum_lie_in_the_broken_part_and_cut_what_they_say() {
    let scenario =
        Scenario { partitions: 40, partition_s: 20, one_way: 50, broken_s: 3_600, ..calm() };
    let link = link(&scenario);
    let all = link.partitions();
    assert_eq!(all.len(), 40);
    assert!(all.is_sorted_by_key(|partition| partition.from));
    for partition in all {
        let length = partition.until - partition.from;
        assert!((Duration::from_secs(20)..=Duration::from_secs(40)).contains(&length));
        assert!(partition.until <= heals(&scenario));
        for direction in [Direction::Out, Direction::In] {
            let until = link.cut_until(partition.from, direction);
            if partition.cut.covers(direction) {
                let until = until.expect("cut");
                assert!(until >= partition.until);
                assert_eq!(link.cut_until(until, direction), None);
            }
        }
    }
    for cut in [Cut::Both, Cut::One(Direction::Out), Cut::One(Direction::In)] {
        assert!(all.iter().any(|partition| partition.cut == cut), "{cut:?}");
    }
}

#[test]
fn a_partition_lets_nothing_through_its_direction_and_everything_the_other_way() {
    let scenario = Scenario { partitions: 1, one_way: 100, partition_s: 20, ..calm() };
    let mut link = link(&scenario);
    let partition = link.partitions()[0];
    let Cut::One(cut) = partition.cut else { panic!("{partition:?}") };
    let open = if cut == Direction::Out { Direction::In } else { Direction::Out };
    let micro = Duration::from_micros(1);
    let last = Instant::START + ((partition.until - Instant::START) - micro);
    for now in [partition.from, last] {
        assert_eq!(link.datagram(now, cut, remote(0), 100).count(), 0);
        assert_eq!(link.datagram(now, open, remote(0), 100).count(), 1);
    }
    assert_eq!(link.datagram(partition.until, cut, remote(0), 100).count(), 1);
    assert_eq!(link.tally(cut).partition.datagrams, 2);
    assert!(link.tally(cut).balances());
}

#[test]
fn partitions_that_touch_hold_until_the_last_is_over() {
    let of = |from, until, cut| Partition { from: at(from), until: at(until), cut };
    let all = [
        of(0, 20, Cut::Both),
        of(5, 10, Cut::One(Direction::Out)),
        of(20, 40, Cut::One(Direction::Out)),
        of(41, 50, Cut::Both),
    ];
    assert_eq!(partition::cut_until(&all, at(7), Direction::Out), Some(at(40)));
    assert_eq!(partition::cut_until(&all, at(7), Direction::In), Some(at(20)));
    assert_eq!(partition::cut_until(&all, at(40), Direction::Out), None);
}

/// Everything at once.
fn stormy() -> Scenario {
    Scenario {
        loss: 50,
        burst: 5,
        jitter_ms: 30,
        spread_ms: 80,
        duplicate: 30,
        reorder: 50,
        corrupt: 20,
        size_cap: 140,
        partitions: 2,
        partition_s: 2,
        broken_s: 20,
        ..calm()
    }
}

#[test]
fn after_the_links_heal_only_delay_and_jitter_are_left() {
    let scenario = stormy();
    let mut link = link(&scenario);
    run(&mut link, at(0), Direction::Out);
    let before = *link.tally(Direction::Out);
    assert!(before.balances() && before.delivered.datagrams < 19_000);
    let healed = run(&mut link, heals(&scenario), Direction::Out);
    for (n, (now, fates)) in healed.iter().enumerate() {
        assert_eq!(fates.len(), 1, "{n}");
        assert_eq!(fates[0].flip, None);
        let least = link.path_delay(remote(n % 500));
        let delay = fates[0].at - *now;
        assert!(delay >= least && delay <= least + Duration::from_millis(30));
    }
    let after = link.tally(Direction::Out);
    assert_eq!(after.all_lost(), before.all_lost());
    assert!(after.balances());
}

#[test]
fn four_shards_give_each_datagram_the_fate_that_one_gives_it() {
    let scenario = stormy();
    let mut whole = link(&scenario);
    for count in [2, 4, 5, 8] {
        let mut whole_again = link(&scenario);
        let mut shards: Vec<_> =
            (0..count).map(|index| Link::new(&scenario, Shard { index, count })).collect();
        for n in 0..PACKETS {
            let (now, remote, len) = (at(n as u64), remote(n % 500), 100 + n % 50);
            let shard = &mut shards[Shard::of(remote.ip(), count).index as usize];
            let split = shard.datagram(now, Direction::Out, remote, len);
            assert!(split.eq(whole_again.datagram(now, Direction::Out, remote, len)));
        }
    }
    // And another seed gives others.
    let mut other = link(&Scenario { seed: 43, ..stormy() });
    assert_ne!(run(&mut whole, at(0), Direction::Out), run(&mut other, at(0), Direction::Out));
}

#[test]
fn every_address_has_one_shard_and_shards_are_about_even() {
    for count in 1..=8 {
        let mut held = vec![0u32; count as usize];
        for n in 0..8_000 {
            let ip = remote(n).ip();
            let owners = (0..count).filter(|&index| Shard { index, count }.owns(ip));
            owners.for_each(|index| held[index as usize] += 1);
        }
        assert_eq!(held.iter().sum::<u32>(), 8_000);
        let fair = 8_000 / count;
        assert!(held.iter().all(|&n| n > fair * 6 / 10 && n < fair * 15 / 10), "{held:?}");
    }
}

#[test]
fn a_lost_piece_of_a_stream_comes_late_but_comes() {
    let mut link = link(&Scenario { loss: 100, ..calm() });
    let mut dice = draw(1, "test", 0);
    let mut piece = |now| link.stream_delay(now, Direction::In, remote(0), 1_000, &mut dice);
    let delays: Vec<_> = (0..10_000).map(|n| piece(at(n))).collect();
    let (quick, late) = (Duration::from_millis(10), Duration::from_millis(210));
    assert!(delays.iter().all(|&delay| delay == quick || delay == late));
    let late = delays.iter().filter(|&&delay| delay == late).count() as u64;
    assert!((0.09..0.11).contains(&share(late, 10_000)));
    assert_eq!(piece(heals(&calm())), quick);
}
