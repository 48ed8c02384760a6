//! D1-D21 of the catalogue, the limits of B.7 and H5, and malformed queries.

use super::*;
use crate::codec::bencode::ErrorKind;

const TARGET: &[u8] = b"6:target20:mnopqrstuvwxyz123456";

fn not_bencode(kind: ErrorKind, datagram: &[u8]) -> bool {
    matches!(Message::parse(datagram), Err(ParseError::NotBencode(error)) if error.kind == kind)
}

#[test]
fn d1_nodes_that_end_in_a_fraction_give_the_whole_entries() {
    for (key, entry_len) in [("nodes", 26), ("nodes6", 38)] {
        for (length, whole) in [(0, 0), (entry_len - 1, 0), (entry_len, 1), (2 * entry_len + 7, 2)]
        {
            let packet = reply_with(&entry(key, &vec![7; length]));
            let reply = reply(&packet);
            assert_eq!(reply.nodes.count() + reply.nodes6.count(), whole, "{key}, {length} bytes");
            assert_eq!(parse(&packet).flags.contains(Oddity::Ragged), length % entry_len != 0);
        }
    }
}

#[test]
fn d2_one_long_string_of_peers_is_split() {
    let merged = reply_with(b"6:valuesl12:axje.uidhtnme");
    let expected = addrs(&["97.120.106.101:11893", "105.100.104.116:28269"]);
    assert!(parse(&merged).flags.contains(Oddity::OddValues));
    assert_eq!(reply(&merged).values.collect::<Vec<_>>(), expected);
    assert_eq!(reply(&merged).values.heard_over(Family::V4).collect::<Vec<_>>(), expected);
    assert_eq!(reply(&merged).values.heard_over(Family::V6).count(), 0);
}

#[test]
fn d2_a_long_string_is_split_only_if_it_is_alone_and_divides() {
    for values in [
        &b"6:valuesl13:axje.uidhtnm+e"[..],
        b"6:valuesl12:axje.uidhtnmi1ee",
        b"6:valuesli1e12:axje.uidhtnme",
        b"6:valuesl0:e",
        b"6:valuesle",
    ] {
        assert_eq!(reply(&reply_with(values)).values.count(), 0, "{}", values.escape_ascii());
    }
    let long = reply_with(b"6:valuesl12:axje.uidhtnm6:axje.ue");
    assert_eq!(reply(&long).values.collect::<Vec<_>>(), addrs(&["97.120.106.101:11893"]));
}

#[test]
fn d2_eighteen_bytes_are_one_peer_or_three_as_the_carrier_says() {
    let packet = reply_with(b"6:valuesl18:axje.uaxje.uaxje.ue");
    let values = reply(&packet).values;
    assert_eq!(values.clone().count(), 1);
    assert_eq!(values.clone().heard_over(Family::V6).count(), 1);
    let three = vec![addrs(&["97.120.106.101:11893"])[0]; 3];
    assert_eq!(values.heard_over(Family::V4).collect::<Vec<_>>(), three);
    let two = reply_with(b"6:valuesl18:axje.uaxje.uaxje.u18:axje.uaxje.uaxje.ue");
    assert_eq!(reply(&two).values.heard_over(Family::V4).count(), 2);
}

#[test]
fn d3_unusable_values_are_passed_over_and_other_fields_kept() {
    let string = reply_with(b"5:token2:to6:values6:axje.u");
    assert!(reply(&string).values.is_empty());
    assert_eq!(reply(&string).token, Some(&b"to"[..]));
    assert!(parse(&string).flags.contains(Oddity::Mistyped));

    let mixed = b"5:token2:to6:valuesl5:axje.ld1:ai1eee6:axje.ui7e7:axje.u.4:\0\0\0\0\
                  18:\x2a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1e";
    let packet = reply_with(mixed);
    let expected = addrs(&["97.120.106.101:11893", "[2a00::1]:6881"]);
    assert_eq!(reply(&packet).values.collect::<Vec<_>>(), expected);
    assert_eq!(reply(&packet).token, Some(&b"to"[..]));
    assert!(parse(&packet).flags.contains(Oddity::OddValues));
}

#[test]
fn d4_a_reply_without_nodes_has_no_contacts() {
    let packet = reply_with(b"");
    assert!(reply(&packet).nodes.is_empty() && reply(&packet).nodes6.is_empty());
    assert!(parse(&packet).flags.is_clean());
}

#[test]
fn d5_an_error_of_any_shape_is_an_error() {
    let cases: [(&[u8], Option<i64>, &[u8]); 13] = [
        (b"1:eli203e3:bade", Some(203), b"bad"),
        (b"1:e3:bad", None, b"bad"),
        (b"1:ei203e", Some(203), b""),
        (b"1:eli203ee", Some(203), b""),
        (b"1:el3:bade", None, b"bad"),
        (b"1:el3:badi203ee", Some(203), b"bad"),
        (b"1:eli203ei204e3:bad5:worsee", Some(203), b"bad"),
        (b"1:elli1eed1:ai1eei203ee", Some(203), b""),
        (b"1:ele", None, b""),
        (b"1:ede", None, b""),
        (b"1:ed4:codei203ee", None, b""),
        (b"1:eli-1e0:e", Some(-1), b""),
        (b"8:unrelatei1e", None, b""),
    ];
    for (error, code, text) in cases {
        let packet = [b"d", error, b"1:t2:aa1:y1:e1:z0:e"].concat();
        assert_eq!(refusal(&packet), ErrorReply { code, text }, "{}", packet.escape_ascii());
    }
}

#[test]
fn d6_and_d21_no_transaction_is_no_message() {
    let packets: [&[u8]; 5] = [
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe",
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t0:1:y1:qe",
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:ti7e1:y1:qe",
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:y1:re",
        b"d1:eli201e3:bade1:t0:1:y1:ee",
    ];
    for packet in packets {
        assert!(matches!(Message::parse(packet), Err(ParseError::NoTransaction)));
    }
}

#[test]
fn d7_a_transaction_of_any_length_is_read_in_answers_and_bounded_in_queries() {
    let with = |length: usize, head: &str, tail: &str| {
        format!("{head}1:t{length}:{}{tail}", "x".repeat(length)).into_bytes()
    };
    let (head, tail) = ("d1:rd2:id20:mnopqrstuvwxyz123456e", "1:y1:re");
    for length in [1, 4, 33, 200] {
        assert_eq!(parse(&with(length, head, tail)).transaction.len(), length);
    }
    let (head, tail) = ("d1:ad2:id20:abcdefghij0123456789e1:q4:ping", "1:y1:qe");
    let longest = with(32, head, tail);
    assert_eq!(parse(&longest).transaction.len(), 32);
    let longer = with(33, head, tail);
    assert!(matches!(Message::parse(&longer), Err(ParseError::LongTransaction)));
}

#[test]
fn d9_an_unknown_or_missing_kind_is_no_message() {
    let packets: [&[u8]; 4] = [
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aae",
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:xe",
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y2:rre",
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:yi1ee",
    ];
    for packet in packets {
        assert!(matches!(Message::parse(packet), Err(ParseError::NoKind)));
    }
}

#[test]
fn d10_a_field_of_the_wrong_type_is_absent() {
    let fields = b"4:BFsdi1e8:interval3:3005:nodesi1e6:nodes6le3:numd1:ai1ee7:samplesle\
                   5:tokeni7e6:valuesi1e";
    let packet = reply_with(fields);
    let reply = reply(&packet);
    assert!(reply.nodes.is_empty() && reply.nodes6.is_empty() && reply.values.is_empty());
    assert_eq!((reply.samples, reply.token, reply.bfsd), (None, None, None));
    assert_eq!((reply.interval, reply.num), (None, None));
    assert!(parse(&packet).flags.contains(Oddity::Mistyped));

    let packet = b"d1:ad2:id20:abcdefghij0123456789e2:ipi1e1:q4:ping2:ro1:11:t2:aa1:vi1e1:y1:qe";
    let message = parse(packet);
    assert_eq!((message.external, message.read_only, message.version), (None, false, None));
    assert!(message.flags.contains(Oddity::Mistyped));
}

#[test]
fn d11_a_reply_without_a_usable_id_fails_its_call() {
    for results in ["1:rd2:id19:mnopqrstuvwxyz12345e", "1:rd2:idi1ee", "1:rde", "1:rle", ""] {
        let packet = format!("d{results}1:t2:aa1:x8:abcdefgh1:y1:re");
        let error = Message::parse(packet.as_bytes()).expect_err("no id");
        assert_eq!(error, ParseError::BadReplyId { transaction: b"aa" }, "{packet}");
        assert_eq!(error.failed_call(), Some(&b"aa"[..]));
        assert_eq!(error.refusal(), None);
    }
}

#[test]
fn d11_a_query_without_a_usable_id_names_it_in_the_refusal() {
    for arguments in ["1:ad2:id3:abce", "1:ade", "1:ai1e", ""] {
        let packet = format!("d{arguments}1:q4:ping1:t2:aa1:y1:qe");
        let error = Message::parse(packet.as_bytes()).expect_err("no id");
        assert_eq!(error.refusal(), Some((&b"aa"[..], &b"missing 'id' key"[..])), "{packet}");
        assert_eq!(error.failed_call(), None);
    }
}

#[test]
fn d12_the_senders_id_is_handed_on_beside_its_samples() {
    let packet = reply_with(&entry("samples", &[9; 20]));
    let reply = reply(&packet);
    assert_eq!(reply.id, NodeId(*b"mnopqrstuvwxyz123456"));
    assert_eq!(reply.samples.map(|samples| samples.len()), Some(1));
}

#[test]
fn d13_an_odd_interval_or_num_spoils_nothing_else() {
    let samples = entry("samples", &[9; 20]);
    let cases: [(&str, Option<i64>); 5] = [
        ("i-1e", Some(-1)),
        ("i9223372036854775807e", Some(i64::MAX)),
        ("i9223372036854775808e", Some(i64::MAX)),
        ("3:300", None),
        ("le", None),
    ];
    for (value, read) in cases {
        let head = format!("8:interval{value}3:num{value}");
        let packet = reply_with(&[head.as_bytes(), &samples].concat());
        let reply = reply(&packet);
        assert_eq!((reply.interval, reply.num), (read, read));
        assert_eq!(reply.samples.map(|samples| samples.len()), Some(1));
    }
}

#[test]
fn h4_numbers_of_any_length_spoil_no_datagram() {
    let nines = "9".repeat(600);
    for number in ["9223372036854775808", "-99999999999999999999", &nines] {
        let inner = format!("1:pi{number}e7:samples20:ffffffffffffffffffff1:zli{number}ee");
        let outer = [&b"d1:ai"[..], number.as_bytes(), b"e"].concat();
        let message = [&outer[..], &reply_with(inner.as_bytes())[1..]].concat();
        assert_eq!(reply(&message).samples.map(|samples| samples.len()), Some(1), "{number}");
        let values = reply_with(format!("6:valuesli{number}e6:axje.ue").as_bytes());
        assert_eq!(reply(&values).values.count(), 1, "{number}");
        let error = format!("d1:eli{number}e5:sorrye1:t2:aa1:y1:ee");
        assert_eq!(refusal(error.as_bytes()).text, b"sorry");
        let asked = query_with(
            "get_peers",
            format!("9:info_hash20:mnopqrstuvwxyz1234566:scrapei{number}e").as_bytes(),
        );
        assert!(matches!(query(&asked).method, Method::GetPeers { scrape: true, .. }));
    }
}

#[test]
fn d14_unsorted_keys_and_leading_zeros_are_accepted_and_flagged() {
    let unsorted = b"d1:y1:r1:t2:aa1:rd5:token2:to2:id20:mnopqrstuvwxyz123456ee";
    assert_eq!(reply(unsorted).token, Some(&b"to"[..]));
    assert!(parse(unsorted).flags.bencode.unsorted);
    let padded = reply_with(b"8:intervali0300e5:token02:to");
    assert_eq!(reply(&padded).interval, Some(300));
    assert!(parse(&padded).flags.bencode.leading_zero);
}

#[test]
fn d14_the_first_duplicate_wins_even_if_it_is_of_the_wrong_type() {
    let packet = reply_with(b"5:token2:to5:token3:two6:valuesl6:axje.ue6:valuesle");
    assert_eq!(reply(&packet).token, Some(&b"to"[..]));
    assert_eq!(reply(&packet).values.count(), 1);
    assert!(parse(&packet).flags.bencode.duplicate);

    let mistyped_first = reply_with(b"5:tokeni1e5:token3:two6:values0:6:valuesl6:axje.ue");
    assert_eq!(reply(&mistyped_first).token, None);
    assert_eq!(reply(&mistyped_first).values.count(), 0);

    let whole = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:rd2:id20:abcdefghij0123456789e1:t2:aa1:t2:bb\
                  1:y1:r1:y1:qe";
    assert_eq!(reply(whole).id, NodeId(*b"mnopqrstuvwxyz123456"));
    assert_eq!(parse(whole).transaction, b"aa");
}

#[test]
fn d15_bytes_after_the_message_are_accepted_and_flagged() {
    for tail in [&b"\0"[..], b"\0\0\0\0", b"e", b"d1:t2:bbe", b"\xff"] {
        let packet = [&reply_with(b"5:token2:to"), tail].concat();
        assert_eq!(reply(&packet).token, Some(&b"to"[..]));
        assert!(parse(&packet).flags.contains(Oddity::Trailing));
    }
}

#[test]
fn d16_the_external_address_may_lack_its_port() {
    let v6 = [0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let cases: [(&[u8], Option<&str>); 8] = [
        (&[1, 2, 3, 4, 0x1a, 0xe1], Some("1.2.3.4:6881")),
        (&[1, 2, 3, 4], Some("1.2.3.4:0")),
        (&v6, Some("[2a00::1]:0")),
        (&[&v6[..], &[0x1a, 0xe1]].concat(), Some("[2a00::1]:6881")),
        (b"", None),
        (b"abc", None),
        (b"127.0.0.1", None),
        (&[0; 19], None),
    ];
    for (bytes, expected) in cases {
        let packet = [b"d", &entry("ip", bytes)[..], &reply_with(b"")[1..]].concat();
        let message = parse(&packet);
        let expected = expected.map(|text| text.parse().expect("address"));
        assert_eq!(message.external, expected, "{}", bytes.escape_ascii());
        assert_eq!(message.flags.contains(Oddity::Mistyped), expected.is_none());
    }
}

#[test]
fn d17_and_d18_contacts_are_handed_on_unjudged() {
    let own = [&b"mnopqrstuvwxyz123456"[..], &[127, 0, 0, 1, 0, 0]].concat();
    let packet = reply_with(&entry("nodes", &own));
    assert_eq!(reply(&packet).nodes.count(), 1);
}

#[test]
fn d19_odd_items_of_want_are_passed_over() {
    let wanting = |want: &[u8]| query(&query_with("find_node", &[TARGET, want].concat())).want;
    let v6 = Want { v4: false, v6: true };
    assert_eq!(wanting(b"4:wantli4e2:n62:n5l2:n4ee"), v6);
    assert_eq!(wanting(b"4:want2:n6"), Want::UNSPECIFIED);
    assert_eq!(wanting(b"4:wanti6e"), Want::UNSPECIFIED);
    assert_eq!(wanting(b"4:wantl2:n6e4:wantl2:n4e"), v6);
}

#[test]
fn d20_legacy_and_unknown_keys_are_ignored() {
    let packet = b"d1:ad2:bsi1e2:id20:abcdefghij01234567891:n4:namee1:md1:ald1:bi1eeee1:pi6881e\
                   1:q4:ping1:t2:aa1:y1:q2:zz0:e";
    assert_eq!(query(packet).method, Method::Ping);
    let packet = reply_with(b"6:nodes2l26:aaaaaaaaaaaaaaaaaaaaaaaaaae1:pi6881e");
    assert!(reply(&packet).nodes.is_empty());
    assert!(parse(&packet).flags.is_clean());
}

#[test]
fn a_known_method_without_its_argument_names_the_key() {
    let hash = "9:info_hash20:mnopqrstuvwxyz123456";
    let cases = [
        ("find_node", String::new(), "missing 'target' key"),
        ("find_node", "6:target3:abc".into(), "invalid 'target' value"),
        ("find_node", "6:targeti1e".into(), "invalid 'target' value"),
        ("sample_infohashes", String::new(), "missing 'target' key"),
        ("get_peers", String::new(), "missing 'info_hash' key"),
        ("get_peers", "9:info_hash19:mnopqrstuvwxyz12345".into(), "invalid 'info_hash' value"),
        ("announce_peer", "4:porti1e5:token1:x".into(), "missing 'info_hash' key"),
        ("announce_peer", format!("{hash}5:token1:x"), "missing 'port' key"),
        ("announce_peer", format!("{hash}4:porti0e5:token1:x"), "invalid 'port' value"),
        ("announce_peer", format!("{hash}4:porti65536e5:token1:x"), "invalid 'port' value"),
        ("announce_peer", format!("{hash}4:porti-1e5:token1:x"), "invalid 'port' value"),
        ("announce_peer", format!("{hash}4:porti1e"), "missing 'token' key"),
        ("announce_peer", format!("{hash}4:porti1e5:tokeni1e"), "invalid 'token' value"),
    ];
    for (method, arguments, text) in cases {
        let packet = query_with(method, arguments.as_bytes());
        let Method::Malformed { name, argument } = query(&packet).method else {
            panic!("{method} {arguments}");
        };
        assert_eq!(name, method.as_bytes());
        assert_eq!(argument.text(), text.as_bytes());
    }
}

#[test]
fn an_implied_port_makes_the_port_dispensable() {
    let head = b"12:implied_porti1e9:info_hash20:mnopqrstuvwxyz123456";
    for (tail, expected) in
        [(&b"5:token1:x"[..], 0), (b"4:porti0e5:token1:x", 0), (b"4:porti9e5:token1:x", 9)]
    {
        let packet = query_with("announce_peer", &[head, tail].concat());
        let Method::AnnouncePeer { port, implied_port, .. } = query(&packet).method else {
            panic!("{}", packet.escape_ascii());
        };
        assert!(implied_port);
        assert_eq!(port, expected);
    }
}

#[test]
fn an_unknown_method_is_known_by_what_it_aims_at() {
    let target = Some(Id(*b"mnopqrstuvwxyz123456"));
    let hash = b"9:info_hash20:mnopqrstuvwxyz123456";
    for (arguments, target) in
        [(TARGET, target), (hash, target), (b"6:target1:x", None), (b"", None)]
    {
        let packet = query_with("vote", arguments);
        assert_eq!(query(&packet).method, Method::Unknown { name: b"vote", target });
    }
    for packet in [
        &b"d1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe"[..],
        b"d1:ad2:id20:abcdefghij0123456789e1:qi1e1:t2:aa1:y1:qe",
    ] {
        let error = Message::parse(packet).expect_err("no method");
        assert_eq!(error.refusal(), Some((&b"aa"[..], &b"missing 'q' key"[..])));
    }
}

#[test]
fn an_overlong_token_counts_as_absent() {
    let longest = reply_with(&entry("token", &[b'x'; 128]));
    assert_eq!(reply(&longest).token.map(<[u8]>::len), Some(128));
    let longer = reply_with(&entry("token", &[b'x'; 129]));
    assert_eq!(reply(&longer).token, None);
}

#[test]
fn h5_a_datagram_under_twenty_or_over_2048_bytes_is_refused() {
    let shortest = b"d1:e0:1:t1:a1:y1:ee";
    assert!(matches!(Message::parse(shortest), Err(ParseError::TooShort)));
    let padded = |length: usize| [&shortest[..], &vec![0; length - shortest.len()]].concat();
    assert!(matches!(Message::parse(&padded(19)), Err(ParseError::TooShort)));
    assert!(Message::parse(&padded(20)).is_ok());
    assert!(Message::parse(&padded(2_048)).is_ok());
    assert!(matches!(Message::parse(&padded(2_049)), Err(ParseError::TooLong)));
}

#[test]
fn what_is_no_dictionary_is_refused_at_once() {
    for datagram in
        [&b"l4:spam4:eggs4:spam4:eggse"[..], b"26:abcdefghijklmnopqrstuvwxyz", &[0x21; 20]]
    {
        assert!(matches!(Message::parse(datagram), Err(ParseError::NotDictionary)));
    }
}

#[test]
fn b7_depth_and_tokens_are_capped_at_the_limit_and_not_before() {
    let nested = |depth: usize| {
        let inner = depth - 2;
        reply_with(&[b"1:z", &b"l".repeat(inner)[..], &b"e".repeat(inner)].concat())
    };
    assert!(Message::parse(&nested(10)).is_ok());
    assert!(not_bencode(ErrorKind::TooDeep, &nested(11)));
    // Root, r, id with its value, z with its list, t, y: 14 tokens around the items.
    let flat = |items: usize| reply_with(&[b"1:zl", &b"0:".repeat(items)[..], b"e"].concat());
    let most = 500 - 14;
    assert!(Message::parse(&flat(most)).is_ok());
    assert!(not_bencode(ErrorKind::TooManyTokens, &flat(most + 1)));
}

#[test]
fn a_truncated_or_mangled_message_is_refused() {
    let whole = query_with("get_peers", b"9:info_hash20:mnopqrstuvwxyz123456");
    for length in 0..whole.len() {
        assert!(Message::parse(&whole[..length]).is_err(), "{length} bytes");
    }
    // libtorrent's invalid_encoding: a get_peers query whose lengths no longer fit.
    let mangled = b"d1:ad2:id20:abcdefghij01234567899:info_hash22:mnopqrstuvwxyz123456e1:q9:get_pe";
    assert!(matches!(Message::parse(mangled), Err(ParseError::NotBencode(_))));
}
