//! The packets printed in BEP 5 and BEP 51, read and written back byte for byte.

use super::*;
use crate::base::addr::Contact;

const SENDER: NodeId = NodeId(*b"abcdefghij0123456789");
const OTHER: [u8; 20] = *b"mnopqrstuvwxyz123456";

/// Reads `packet` of `length` bytes as a query of `method`, and writes it back.
fn query_vector(packet: &[u8], length: usize, sender: NodeId, method: &Method<'_>) {
    assert_eq!(packet.len(), length);
    let message = parse(packet);
    assert_eq!(message.transaction, b"aa");
    assert!(message.flags.is_clean() && !message.read_only);
    let query = query(packet);
    assert_eq!((query.id, &query.method, query.want), (sender, method, Want::UNSPECIFIED));
    let mut out = Vec::new();
    emit_method(&mut out, &AA, sender, method, Want::UNSPECIFIED);
    assert_eq!(out.escape_ascii().to_string(), packet.escape_ascii().to_string());
}

fn reply_vector(packet: &[u8], length: usize, body: &ReplyBody<'_>) {
    assert_eq!(packet.len(), length);
    assert!(parse(packet).flags.is_clean());
    let reply = reply(packet);
    assert_eq!(reply.id, body.id);
    assert_eq!(reply.token, body.token);
    assert_eq!(reply.values.collect::<Vec<_>>(), body.values);
    assert_eq!((reply.nodes.len(), reply.nodes6.len()), (0, 0));
    assert_eq!((reply.samples, reply.interval, reply.num), (None, None, None));
    let mut out = Vec::new();
    emit_reply(&mut out, &AA, body);
    assert_eq!(out.escape_ascii().to_string(), packet.escape_ascii().to_string());
}

#[test]
fn the_generic_error_is_read_and_written() {
    let packet = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee";
    assert_eq!(packet.len(), 51);
    let text = b"A Generic Error Ocurred";
    assert_eq!(refusal(packet), ErrorReply { code: Some(code::GENERIC), text });
    assert!(parse(packet).flags.is_clean());
    let mut out = Vec::new();
    emit_error(&mut out, &AA, code::GENERIC, text);
    assert_eq!(out, packet);
}

#[test]
fn ping_is_read_and_written() {
    let packet = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    query_vector(packet, 56, SENDER, &Method::Ping);
    let packet = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re";
    reply_vector(packet, 47, &ReplyBody::new(NodeId(OTHER)));
}

#[test]
fn find_node_is_read_and_written() {
    let packet = b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e\
                   1:q9:find_node1:t2:aa1:y1:qe";
    query_vector(packet, 92, SENDER, &Method::FindNode { target: Id(OTHER) });
}

#[test]
fn the_short_nodes_of_the_specification_hold_no_contact() {
    let find_node = b"d1:rd2:id20:0123456789abcdefghij5:nodes9:def456...e1:t2:aa1:y1:re";
    let get_peers = b"d1:rd2:id20:abcdefghij01234567895:nodes9:def456...5:token8:aoeusnthe\
                      1:t2:aa1:y1:re";
    assert_eq!((find_node.len(), get_peers.len()), (65, 82));
    for packet in [&find_node[..], get_peers] {
        assert_eq!(reply(packet).nodes.count(), 0);
        assert!(parse(packet).flags.contains(Oddity::Ragged));
    }
    assert_eq!(reply(get_peers).token, Some(&b"aoeusnth"[..]));
}

#[test]
fn get_peers_is_read_and_written() {
    let packet = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e\
                   1:q9:get_peers1:t2:aa1:y1:qe";
    let info_hash = InfoHash(OTHER);
    query_vector(packet, 95, SENDER, &Method::GetPeers { info_hash, scrape: false, noseed: false });

    let packet = b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee\
                   1:t2:aa1:y1:re";
    let values = addrs(&["97.120.106.101:11893", "105.100.104.116:28269"]);
    let token = Some(&b"aoeusnth"[..]);
    reply_vector(packet, 90, &ReplyBody { values: &values, token, ..ReplyBody::new(SENDER) });
}

#[test]
fn announce_peer_is_read_and_written() {
    let packet = b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e\
                   9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe\
                   1:q13:announce_peer1:t2:aa1:y1:qe";
    let method = Method::AnnouncePeer {
        info_hash: InfoHash(OTHER),
        port: 6881,
        implied_port: true,
        token: b"aoeusnth",
        seed: false,
    };
    query_vector(packet, 147, SENDER, &method);
}

#[test]
fn sample_infohashes_is_read_and_written() {
    let packet = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa6:target20:bbbbbbbbbbbbbbbbbbbbe\
                   1:q17:sample_infohashes1:t2:aa1:y1:qe";
    let method = Method::SampleInfohashes { target: Id([b'b'; 20]) };
    query_vector(packet, 101, NodeId([b'a'; 20]), &method);
}

#[test]
fn the_queries_of_a_crawler_are_written_as_their_methods() {
    let (target, info_hash) = (Id(OTHER), InfoHash(OTHER));
    let asks = [
        Ask::Ping,
        Ask::FindNode { target },
        Ask::GetPeers { info_hash },
        Ask::SampleInfohashes { target },
    ];
    for ask in asks {
        let mut out = b"kept".to_vec();
        emit_query(&mut out, &AA, SENDER, &ask, Want::BOTH);
        let written = out.strip_prefix(b"kept").expect("appends");
        assert_eq!(query(written).method, ask.method());
        assert_eq!(query(written).want, Want::BOTH);
        assert!(parse(written).flags.is_clean());
    }
}

#[test]
fn a_read_only_sender_says_so_as_bep_43_prints_it() {
    let mut out = Vec::new();
    let envelope = Envelope { read_only: true, version: Some(*b"XX\0\x01"), ..AA };
    emit_query(&mut out, &envelope, SENDER, &Ask::Ping, Want::UNSPECIFIED);
    assert!(out.windows(7).any(|window| window == b"2:roi1e"));
    let message = parse(&out);
    assert!(message.read_only && message.flags.is_clean());
    assert_eq!(message.version, Some(&b"XX\0\x01"[..]));
}

#[test]
fn want_names_the_families_of_the_answer() {
    let wanting = |want: &[u8]| query(&query_with("ping", want)).want;
    let cases: [(&[u8], Want); 4] = [
        (b"", Want::UNSPECIFIED),
        (b"4:wantl2:n4e", Want { v4: true, v6: false }),
        (b"4:wantl2:n6e", Want { v4: false, v6: true }),
        (b"4:wantl2:n42:n6e", Want::BOTH),
    ];
    for (bytes, want) in cases {
        assert_eq!(wanting(bytes), want);
    }
    for over in Family::ALL {
        for family in Family::ALL {
            assert_eq!(Want::UNSPECIFIED.includes(family, over), family == over);
            assert!(Want::BOTH.includes(family, over));
            let want = Want { v4: true, v6: false };
            assert_eq!(want.includes(family, over), family == Family::V4);
        }
    }
}

#[test]
fn contacts_of_both_families_keep_their_order() {
    let contacts: Vec<Contact> = addrs(&["1.2.3.4:5", "[2a00::1]:6", "6.7.8.9:10"])
        .into_iter()
        .map(|addr| Contact { id: NodeId(OTHER), addr })
        .collect();
    let mut out = Vec::new();
    let body = ReplyBody { nodes: &contacts, nodes6: &contacts, ..ReplyBody::new(SENDER) };
    emit_reply(&mut out, &AA, &body);
    let reply = reply(&out);
    assert_eq!((reply.nodes.len(), reply.nodes6.len()), (2, 1));
    assert_eq!(reply.nodes.collect::<Vec<_>>(), [contacts[0], contacts[2]]);
    assert_eq!(reply.nodes6.collect::<Vec<_>>(), [contacts[1]]);
}

#[test]
fn samples_stand_twenty_bytes_apart_and_a_tail_is_dropped() {
    for whole in [0, 1, 3, 20] {
        let bytes: Vec<u8> = (0..whole * 20 + 7).map(|n| n as u8).collect();
        let packet = reply_with(&entry("samples", &bytes));
        let samples = reply(&packet).samples.expect("present");
        assert_eq!(samples.len(), whole);
        let expected: Vec<InfoHash> =
            bytes.chunks_exact(20).filter_map(InfoHash::from_slice).collect();
        assert_eq!(samples.clone().collect::<Vec<_>>(), expected);
        assert!(parse(&packet).flags.contains(Oddity::Ragged));
    }
}

#[test]
fn empty_samples_are_told_from_none() {
    let packet = reply_with(b"8:intervali300e3:numi0e7:samples0:");
    let reply_with_none = reply_with(b"8:intervali300e3:numi0e");
    let empty = reply(&packet);
    assert!(empty.samples.is_some_and(|samples| samples.is_empty()));
    assert_eq!((empty.interval, empty.num), (Some(300), Some(0)));
    assert!(parse(&packet).flags.is_clean());
    assert_eq!(reply(&reply_with_none).samples, None);

    let mut out = Vec::new();
    let id = NodeId(OTHER);
    let (interval, num) = (Some(300), Some(0));
    emit_reply(
        &mut out,
        &AA,
        &ReplyBody { samples: Some(&[]), interval, num, ..ReplyBody::new(id) },
    );
    assert_eq!(out, packet);
}

#[test]
fn scrape_fields_are_read_and_written() {
    let (seeds, peers) = ([1; BLOOM_LEN], [2; BLOOM_LEN]);
    let mut out = Vec::new();
    let body = ReplyBody { bfsd: Some(&seeds), bfpe: Some(&peers), ..ReplyBody::new(SENDER) };
    emit_reply(&mut out, &AA, &body);
    assert!(parse(&out).flags.is_clean());
    assert_eq!(reply(&out).bfsd, Some(&seeds[..]));
    assert_eq!(reply(&out).bfpe, Some(&peers[..]));
    for length in [0, BLOOM_LEN - 1, BLOOM_LEN + 1] {
        let packet = reply_with(&entry("BFsd", &vec![1; length]));
        assert_eq!(reply(&packet).bfsd, None, "{length} bytes");
        assert!(parse(&packet).flags.contains(Oddity::Mistyped));
    }
    let packet =
        query_with("get_peers", b"9:info_hash20:mnopqrstuvwxyz1234566:noseedi1e6:scrapei1e");
    let info_hash = InfoHash(OTHER);
    assert_eq!(query(&packet).method, Method::GetPeers { info_hash, scrape: true, noseed: true });
}
