//! Scenarios that once broke a rule, one for each defect: each must hold for ever. The name says
//! what it found, then the seed. Every field that is not calm stands in the line, because a seed is
//! another world once the drawing changes. The comment says what of the scenario calls the defect
//! forth; "without the mending" was tried: with the defect put back the run breaks that rule. A
//! defect that no world shows any more stands in a unit test beside its code instead.

use crate::commands::{line, options, run};

/// One test for each run of `sim`.
macro_rules! mended {
    ($($(#[doc = $doc:literal])* $name:ident: $arguments:literal,)*) => {$(
        $(#[doc = $doc])*
        #[test]
        fn $name() {
            hold($arguments);
        }
    )*};
}

fn hold(arguments: &str) {
    let options = options(&arguments.split(' ').collect::<Vec<_>>());
    let seed = options.seed.expect("every line has its seed");
    let scenario = options.scenario(seed).expect("a scenario");
    if let Some(failure) = run(&options, &scenario).failure {
        panic!("{}", line(&options, &scenario, &failure));
    }
}

// What the crawler did wrong.
mended! {
    /// Half of the nodes name nobody but martians: one node is never sampled without the mending.
    a_place_counted_as_looked_at_when_somebody_answered_who_names_nobody_1091: "--seed 1091 --calm --nodes 277 --torrents 65 --peers-max 3 --metadata-max 60000 --interval-s 300 --moves 26 --burst-ms 541 --delay-ms 96 --spread-ms 4 --partition-s 6 --one-way 23 --hostile-nodes 50 --node-vices martian-nodes --peer-vices rejects --broken-s 30 --healed-s 9000 --rate 941 --connections 48 --peers-per-infohash 30 --peer-attempts 13 --clock-stalls 1 --silent-s 7",
    /// Lost answers keep a look for gaps open: one node is never sampled without the mending.
    a_finer_look_for_gaps_did_not_wait_for_the_last_one_7: "--seed 7 --calm --nodes 600 --unsampled 20 --torrents 100 --loss 50",
    /// One node that nobody names in the first pass; with six hours between looks it is never
    /// sampled.
    nodes_that_nobody_named_at_first_were_looked_for_six_hours_later_2: "--seed 2 --calm --nodes 600 --torrents 20 --healed-s 9000",
    /// Nodes come back under other ids at their old addresses: one is sampled twice without the
    /// mending.
    an_address_queued_twice_was_sampled_twice_55: "--seed 55 --calm --nodes 199 --unsampled 57 --torrents 39 --interval-s 600 --routing ideal --node-life-s 6386 --hostile-peers 77 --peer-vices none --broken-s 1 --healed-s 9000",
    /// Half of the nodes lie: two torrents are missing when they are due without the mending.
    a_walk_ended_for_ten_peers_that_liars_had_named_12: "--seed 12 --calm --torrents 100 --hostile-nodes 50 --healed-s 1500",
    /// Eight colluders are nearest to a key: its torrent is never found without the mending.
    colluders_nearest_to_the_key_ended_a_lookup_early_36: "--seed 36 --calm --torrents 20 --eclipse 8 --broken-s 60 --healed-s 7200",
    /// Peers that give some pieces and peers that hang up, of one torrent: one of those is dialled
    /// again within the hour without the mending.
    a_peer_that_hung_up_was_dialled_for_what_another_had_left_593: "--seed 593 --calm --families 6 --nodes 17 --torrents 242 --peers-max 5 --metadata-max 60000 --routing ideal --hostile-peers 80 --peer-vices early-end+no-extensions+own-peer-id+absurd-size+changing-size+remapped-id+stray-pieces+drip+message-storm+silent-after-handshake --broken-s 1 --healed-s 9000",
    /// Few nodes for many torrents, so that questions wait for their address: one infohash is
    /// looked up after it was verified without the mending.
    a_deferred_question_was_sent_although_its_infohash_was_settled_896: "--seed 896 --calm --families 6 --nodes 81 --dead-nodes 49 --unsampled 9 --torrents 261 --metadata-max 60000 --peer-life-s 14319 --new-ids 49 --moves 13 --burst 5 --burst-ms 786 --delay-ms 30 --spread-ms 196 --reorder 26 --corrupt 6 --one-way 1 --resets 19 --hostile-nodes 37 --node-vices many-samples --hostile-peers 22 --peer-vices rejects-some --broken-s 240 --healed-s 9000 --connections 287 --peers-per-infohash 50 --peer-attempts 9 --silent-s 4",
    /// Two families and few new flows: IPv6 starves without the mending.
    low_new_flows_all_went_to_the_family_that_asked_first_2063: "--seed 2063 --calm --families both --nodes 491 --torrents 1 --broken-s 1 --healed-s 9000 --new-flows 408",
    /// Visits every five minutes under a limit of new flows, which is exceeded without the mending.
    a_known_endpoint_was_forgotten_between_asking_and_counting_2315: "--seed 2315 --calm --families 6 --nodes 596 --unsampled 1 --torrents 33 --peers-max 2 --interval-s 300 --spread-ms 222 --reorder 16 --stalls 5 --broken-s 240 --healed-s 9000 --new-flows 401 --crashes 1 --silent-s 1",
    /// Few new flows, so that walks wait for their turn while their infohashes are fetched: two are
    /// looked up after they were verified without the mending.
    a_lookup_outlived_its_infohash_5550979: "--seed 5550979 --calm --families both --nodes 94 --torrents 30 --routing ideal --hostile-nodes 29 --node-vices other-address+other-port+changing-id+reflector+invented-nodes+self-nodes+martian-nodes+sybil-nodes+ragged-nodes+ragged-samples+poisoned-samples+many-samples+zero-interval+absurd-num+flooded-values+odd-values+nodes-as-values+deep-bencode+truncated-bencode+token-flood+absurd-lengths+reply-flood+query-flood+slow+refuser+odd-errors+odd-id+untidy+legacy+falls-silent --broken-s 1 --healed-s 140 --new-flows 341",
    /// Nodes live six minutes, and the second chance comes after an hour: every node that the
    /// lookup begins with is gone, and the torrent is missing at the end without the mending.
    a_lookup_that_no_node_answered_was_the_last_word_5550339: "--seed 5550339 --calm --nodes 31 --torrents 33 --peers-max 1 --routing ideal --node-life-s 371 --resets 57 --hostile-peers 1 --broken-s 1 --healed-s 9000",
}

// What the checker or the world did wrong.
mended! {
    /// More connections than the line feeds time out together, again and again, unless it heals.
    the_bottleneck_outlived_every_other_fault_54: "--seed 54 --calm --families 6 --nodes 42 --torrents 60 --routing ideal --bandwidth 20034 --broken-s 60 --healed-s 9000",
    /// A restart with both families: rule 20 complains of those that rest without the mending.
    who_rests_since_an_earlier_run_counted_as_work_4259: "--seed 4259 --calm --families both --nodes 324 --torrents 11 --peers-max 1 --routing ideal --burst 4 --burst-ms 890 --delay-ms 52 --spread-ms 1 --duplicate 13 --corrupt 2 --broken-s 30 --healed-s 9000 --new-flows 3308 --crashes 1",
    /// Two of 1 108 nodes are found by the second look for gaps; rule b did not wait for it.
    one_look_into_gaps_was_to_find_everybody_3380: "--seed 3380 --calm --families both --nodes 554 --torrents 24 --peers-min 2 --peers-max 5 --metadata-max 20000 --interval-s 3600 --new-ids 47 --moves 39 --burst-ms 53 --delay-ms 3 --spread-ms 130 --partition-s 6 --one-way 32 --node-vices odd-id --peer-vices wrong-size --harness turmoil --broken-s 60 --healed-s 9000 --connections 19 --peers-per-infohash 27 --peer-attempts 6",
}
