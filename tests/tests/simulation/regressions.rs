//! Scenarios that once broke a rule, one for each defect: each must hold for ever. The name says what
//! it found, then the seed. Every field that is not calm stands in the line, because a seed is
//! another world once the drawing changes. The comment says what of the scenario calls the defect
//! forth; "without the mending" was tried: with the defect put back the run breaks that rule.

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
    /// Two families, and a restart that must look into every gap. Shown by the unit test of `density.rs`;
    /// this world no longer falls with that part of the mending alone.
    the_density_was_read_off_far_buckets_613: "--seed 613 --calm --families both --nodes 493 --torrents 33 --peers-max 2 --new-ids 45 --moves 4 --loss 24 --burst 20 --burst-ms 1225 --delay-ms 1 --spread-ms 2 --jitter-ms 45 --duplicate 23 --reorder 27 --corrupt 15 --size-cap 1165 --bandwidth 882677 --forged 52 --partitions 1 --partition-s 13 --one-way 12 --chunk 754 --stalls 13 --node-vices nodes-as-values+deep-bencode+truncated-bencode --peer-vices no-size --harness turmoil --broken-s 60 --healed-s 9000 --new-flows 1794 --connections 375 --peers-per-infohash 35 --crashes 1 --silent-s 6",
    /// Half of the nodes name nobody but martians: one node is never sampled without the mending.
    a_place_counted_as_looked_at_when_somebody_answered_who_names_nobody_1091: "--seed 1091 --calm --nodes 277 --torrents 65 --peers-max 3 --metadata-max 60000 --interval-s 300 --moves 26 --burst-ms 541 --delay-ms 96 --spread-ms 4 --partition-s 6 --one-way 23 --hostile-nodes 50 --node-vices martian-nodes --peer-vices rejects --broken-s 30 --healed-s 9000 --rate 941 --connections 48 --peers-per-infohash 30 --peer-attempts 13 --clock-stalls 1 --silent-s 7",
    /// Lost answers keep a look for gaps open: one node is never sampled without the mending.
    a_finer_look_for_gaps_did_not_wait_for_the_last_one_7: "--seed 7 --calm --nodes 600 --unsampled 20 --torrents 100 --loss 50",
    /// One node that nobody names in the first pass; with six hours between looks it is never sampled.
    nodes_that_nobody_named_at_first_were_looked_for_six_hours_later_2: "--seed 2 --calm --nodes 600 --torrents 20 --healed-s 9000",
    /// Nodes come back under other ids at their old addresses: one is sampled twice without the mending.
    an_address_queued_twice_was_sampled_twice_55: "--seed 55 --calm --nodes 199 --unsampled 57 --torrents 39 --interval-s 600 --routing ideal --node-life-s 6386 --hostile-peers 77 --peer-vices none --broken-s 1 --healed-s 9000",
    /// Half of the nodes lie: two torrents are missing when they are due without the mending.
    a_walk_ended_for_ten_peers_that_liars_had_named_12: "--seed 12 --calm --torrents 100 --hostile-nodes 50 --healed-s 1500",
    /// Eight colluders are nearest to a key: its torrent is never found without the mending.
    colluders_nearest_to_the_key_ended_a_lookup_early_36: "--seed 36 --calm --torrents 20 --eclipse 8 --broken-s 60 --healed-s 7200",
    /// Dead nodes and churn, which make the network suspect for a moment. The rule was 14; it holds here
    /// by now without the mending as well.
    a_lookup_was_made_again_for_an_outage_that_had_not_ended_it_5: "--seed 5 --calm --nodes 259 --dead-nodes 30 --unsampled 30 --torrents 176 --peers-min 2 --peers-max 3 --dead-peers 30 --metadata-max 400 --interval-s 3600 --node-life-s 2293 --peer-life-s 3051 --new-ids 27 --moves 36 --burst 22 --burst-ms 89 --delay-ms 1 --spread-ms 107 --jitter-ms 24 --reorder 10 --bandwidth 582991 --forged 38 --partition-s 4 --one-way 30 --chunk 1398 --node-vices ragged-nodes --hostile-peers 1 --peer-vices not-bittorrent --healed-s 9000 --rate 524 --new-flows 347 --connections 25 --peers-per-infohash 49 --peer-attempts 7 --max-infohashes 356 --clock-stalls 2 --silent-s 10",
    /// Peers that give some pieces and peers that hang up, of one torrent: one of those is dialled again
    /// within the hour without the mending.
    a_peer_that_hung_up_was_dialled_for_what_another_had_left_593: "--seed 593 --calm --families 6 --nodes 17 --torrents 242 --peers-max 5 --metadata-max 60000 --routing ideal --hostile-peers 80 --peer-vices early-end+no-extensions+own-peer-id+absurd-size+changing-size+remapped-id+stray-pieces+drip+message-storm+silent-after-handshake --broken-s 1 --healed-s 9000",
    /// Few nodes for many torrents, so that questions wait for their address: one infohash is looked up
    /// after it was verified without the mending.
    a_deferred_question_was_sent_although_its_infohash_was_settled_896: "--seed 896 --calm --families 6 --nodes 81 --dead-nodes 49 --unsampled 9 --torrents 261 --metadata-max 60000 --peer-life-s 14319 --new-ids 49 --moves 13 --burst 5 --burst-ms 786 --delay-ms 30 --spread-ms 196 --reorder 26 --corrupt 6 --one-way 1 --resets 19 --hostile-nodes 37 --node-vices many-samples --hostile-peers 22 --peer-vices rejects-some --broken-s 240 --healed-s 9000 --connections 287 --peers-per-infohash 50 --peer-attempts 9 --silent-s 4",
    /// A restart under a limit of new flows. Shown by the unit tests of `pace.rs`; this world no longer
    /// falls without the mending.
    low_new_flows_left_nothing_to_dial_with_128: "--seed 128 --calm --families 6 --nodes 75 --torrents 60 --peers-max 2 --interval-s 600 --routing ideal --new-ids 23 --moves 13 --burst 5 --burst-ms 304 --delay-ms 4 --spread-ms 15 --partition-s 36 --one-way 49 --chunk 512 --resets 1 --hostile-nodes 5 --hostile-peers 64 --peer-vices absurd-size+wrong-size+remapped-id+garbled-extensions --broken-s 240 --healed-s 9000 --rate 511 --new-flows 5186 --connections 44 --peers-per-infohash 22 --peer-attempts 10 --crashes 1 --clock-stalls 1 --silent-s 9",
    /// Two families and few new flows: IPv6 starves without the mending.
    low_new_flows_all_went_to_the_family_that_asked_first_2063: "--seed 2063 --calm --families both --nodes 491 --torrents 1 --broken-s 1 --healed-s 9000 --new-flows 408",
    /// Visits every five minutes under a limit of new flows, which is exceeded without the mending.
    a_known_endpoint_was_forgotten_between_asking_and_counting_2315: "--seed 2315 --calm --families 6 --nodes 596 --unsampled 1 --torrents 33 --peers-max 2 --interval-s 300 --spread-ms 222 --reorder 16 --stalls 5 --broken-s 240 --healed-s 9000 --new-flows 401 --crashes 1 --silent-s 1",
    /// Few new flows, so that walks wait for their turn while their infohashes are fetched: two are looked
    /// up after they were verified without the mending.
    a_lookup_outlived_its_infohash_5550979: "--seed 5550979 --calm --families both --nodes 94 --torrents 30 --routing ideal --hostile-nodes 29 --node-vices other-address+other-port+changing-id+reflector+invented-nodes+self-nodes+martian-nodes+sybil-nodes+ragged-nodes+ragged-samples+poisoned-samples+many-samples+zero-interval+absurd-num+flooded-values+odd-values+nodes-as-values+deep-bencode+truncated-bencode+token-flood+absurd-lengths+reply-flood+query-flood+slow+refuser+odd-errors+odd-id+untidy+legacy+falls-silent --broken-s 1 --healed-s 140 --new-flows 341",
    /// Nodes live six minutes, and the second chance comes after an hour: every node that the lookup
    /// begins with is gone, and the torrent is missing at the end without the mending.
    a_lookup_that_no_node_answered_was_the_last_word_5550339: "--seed 5550339 --calm --nodes 31 --torrents 33 --peers-max 1 --routing ideal --node-life-s 371 --resets 57 --hostile-peers 1 --broken-s 1 --healed-s 9000",
}

// What the checker or the world did wrong.
mended! {
    /// More connections than the line feeds time out together, again and again, unless it heals.
    the_bottleneck_outlived_every_other_fault_54: "--seed 54 --calm --families 6 --nodes 42 --torrents 60 --routing ideal --bandwidth 20034 --broken-s 60 --healed-s 9000",
    /// Datagrams above 335 bytes are lost, so that many stay silent in both families. By now
    /// no rule breaks here without the mending.
    what_only_the_silent_named_counted_as_work_939: "--seed 939 --calm --families both --nodes 428 --torrents 136 --peers-max 2 --dead-peers 22 --metadata-max 400 --interval-s 300 --new-ids 25 --moves 14 --burst-ms 159 --delay-ms 23 --spread-ms 199 --size-cap 335 --bandwidth 58150 --partitions 4 --partition-s 7 --one-way 87 --chunk 1128 --resets 289 --hostile-nodes 3 --hostile-peers 5 --peer-vices early-end+own-peer-id+not-bittorrent+other-total-size+remapped-id+short-piece+bad-hash+drip+chatter+huge-frame+request-storm+message-storm --healed-s 9000 --rate 772 --new-flows 1601 --connections 22 --peers-per-infohash 44 --peer-attempts 14 --crashes 1 --clock-stalls 6 --silent-s 10",
    /// Five infohashes at most, and peers that serve none of them. By now no rule breaks here
    /// without the mending.
    a_limit_on_infohashes_promised_torrents_1011: "--seed 1011 --calm --nodes 142 --torrents 157 --peers-max 1 --metadata-max 20000 --interval-s 600 --routing ideal --new-ids 40 --moves 49 --burst-ms 250 --delay-ms 2 --spread-ms 158 --partition-s 18 --one-way 92 --hostile-nodes 5 --node-vices other-port --hostile-peers 28 --peer-vices no-size --broken-s 240 --healed-s 9000 --rate 603 --new-flows 4573 --connections 9 --peers-per-infohash 40 --peer-attempts 7 --max-infohashes 5 --clock-stalls 2 --silent-s 6",
    /// A partition, and a clock that slips in it. By now no rule breaks here without the mending; the unit
    /// tests of `silence.rs` show it.
    a_long_silence_was_lost_among_short_ones_1468: "--seed 1468 --calm --nodes 82 --torrents 59 --peers-max 1 --interval-s 3600 --routing ideal --new-ids 42 --moves 2 --loss 36 --burst 3 --burst-ms 197 --delay-ms 35 --spread-ms 16 --duplicate 12 --reorder 36 --corrupt 12 --size-cap 1419 --bandwidth 335585 --forged 97 --partitions 1 --partition-s 46 --one-way 60 --chunk 14 --resets 19 --stalls 11 --node-vices other-address+invented-nodes+odd-id --hostile-peers 16 --peer-vices drip+huge-frame --broken-s 60 --healed-s 9000 --rate 25 --connections 128 --peers-per-infohash 36 --peer-attempts 11 --clock-stalls 1",
    /// A restart with both families: rule 20 complains of those that rest without the mending.
    who_rests_since_an_earlier_run_counted_as_work_4259: "--seed 4259 --calm --families both --nodes 324 --torrents 11 --peers-max 1 --routing ideal --burst 4 --burst-ms 890 --delay-ms 52 --spread-ms 1 --duplicate 13 --corrupt 2 --broken-s 30 --healed-s 9000 --new-flows 3308 --crashes 1",
    /// Two of 1 108 nodes are found by the second look for gaps; rule b did not wait for it.
    one_look_into_gaps_was_to_find_everybody_3380: "--seed 3380 --calm --families both --nodes 554 --torrents 24 --peers-min 2 --peers-max 5 --metadata-max 20000 --interval-s 3600 --new-ids 47 --moves 39 --burst-ms 53 --delay-ms 3 --spread-ms 130 --partition-s 6 --one-way 32 --node-vices odd-id --peer-vices wrong-size --harness turmoil --broken-s 60 --healed-s 9000 --connections 19 --peers-per-infohash 27 --peer-attempts 6",
}
