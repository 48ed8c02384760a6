//! What is received: order, room, acknowledgements, the end.

use super::*;

#[test]
fn packets_in_order_are_acknowledged_one_by_one_at_first_then_in_pairs_or_after_a_while() {
    let mut peer = Peer::connected();
    let ahead = |peer: &mut Peer| {
        peer.data(0, b"x");
        peer.seq = peer.seq.plus(1);
        peer.read();
    };
    for _ in 0..16 {
        ahead(&mut peer);
        assert_eq!(peer.said_one().header.ack, peer.seq.minus(1));
    }
    ahead(&mut peer);
    assert_eq!(peer.said(), []);
    ahead(&mut peer);
    assert_eq!(peer.said_one().header.ack, peer.seq.minus(1));
    ahead(&mut peer);
    peer.wait(ms(24));
    assert_eq!(peer.said(), []);
    peer.wait(ms(1));
    assert_eq!(peer.said_one().header.ack, peer.seq.minus(1));
    assert_eq!(peer.stream.poll_timeout(), None);
    // What is written acknowledges as well.
    ahead(&mut peer);
    peer.stream.write(b"y");
    assert_eq!(peer.said_one().header.ack, peer.seq.minus(1));
    peer.wait(ms(30));
    assert_eq!(peer.said(), []);
}

#[test]
fn early_packets_are_kept_and_named_and_delivered_once_the_gap_is_filled() {
    let mut peer = Peer::connected();
    peer.stream.expect(1 << 20);
    peer.said();
    for (ahead, payload) in [(2, b"c"), (1, b"b"), (9, b"j"), (2, b"C")] {
        peer.data(ahead, &payload[..]);
        let state = peer.said_one();
        assert_eq!((state.header.kind, state.header.ack), (Kind::State, peer.seq.minus(1)));
        assert_eq!(state.mask.len(), 32, "four bytes, as the specification wants");
    }
    peer.data(9, b"j");
    let mask = peer.said_one().mask;
    assert_eq!((0..32).filter(|bit| mask[*bit]).collect::<Vec<_>>(), [0, 1, 8]);
    assert_eq!(peer.read(), b"");
    peer.data(0, b"a");
    assert_eq!(peer.read(), b"abc");
    let state = peer.said_one();
    assert_eq!(state.header.ack, peer.seq.plus(2));
    assert_eq!((0..32).filter(|bit| state.mask[*bit]).collect::<Vec<_>>(), [5]);
    for (ahead, payload) in (3..9).zip(b"defghi") {
        peer.data(ahead, &[*payload]);
    }
    assert_eq!(peer.read(), b"defghij");
    assert_eq!(peer.said_one().mask, [false; 0]);
}

#[test]
fn the_window_is_never_zero_and_what_has_no_room_is_not_acknowledged() {
    let mut peer = Peer::connected();
    let payload = [9; 1_452];
    let mut taken = 0;
    for ahead in 0..5 {
        peer.data(ahead, &payload);
        let header = peer.said_one().header;
        taken = header.ack.after(peer.seq) + 1;
        assert!(header.window >= 1_452, "{}", header.window);
    }
    assert_eq!(taken, 2, "two slots before a size is accepted");
    assert_eq!(peer.read().len(), 2 * 1_452);
    // The peer hears of the room that there is now.
    assert_eq!(peer.said_one().header.window, 2 * 1_452);
    peer.stream.expect(10 << 20);
    assert_eq!(peer.said_one().header.window, 722 * 1_452, "less than 1 MiB");
    for ahead in 2..900 {
        peer.data(ahead, &payload);
    }
    assert_eq!(peer.said_one().header.window, 1_452);
    assert_eq!(peer.read().len(), 722 * 1_452);
}

#[test]
fn how_far_ahead_a_packet_is_kept_is_bounded_by_packets_and_by_slots() {
    let mut peer = Peer::connected();
    let kept = |peer: &mut Peer, ahead: u16| {
        peer.data(ahead, b"early");
        peer.said_one().mask.get(usize::from(ahead) - 1) == Some(&true)
    };
    assert!(!kept(&mut peer, 4), "four packets");
    assert!(kept(&mut peer, 3));
    assert!(!kept(&mut peer, 2), "one slot is for the packet that is next");
    peer.stream.expect(1 << 20);
    assert!(!kept(&mut peer, 1_024));
    assert!(kept(&mut peer, 1_023));
    assert!(kept(&mut peer, 2));
    for ahead in 4..1_000 {
        peer.data(ahead, b"early");
    }
    let mask = peer.said_one().mask;
    assert_eq!(mask.iter().filter(|bit| **bit).count(), 721, "and one that is next");
    peer.data(0, b"now");
    peer.data(1, b"now");
    assert_eq!(peer.read()[..11], *b"nownowearly");
}

#[test]
fn a_fin_ends_the_stream_behind_its_own_bytes_and_nothing_follows_it() {
    for payload in [&b""[..], b"end"] {
        let mut peer = Peer::connected();
        peer.stream.expect(10_000);
        peer.said();
        let fin = Header { seq: peer.seq.plus(2), ..peer.header(Kind::Fin) };
        // It comes early, and so does what has no right to follow it.
        peer.data(3, b"beyond");
        assert_eq!(peer.says(fin, &[], payload), Reception::Taken);
        peer.data(3, b"beyond");
        peer.data(2, b"in its place");
        let later = Header { seq: peer.seq.plus(3), ..fin };
        peer.says(later, &[], b"another one");
        let sooner = Header { seq: peer.seq.plus(1), ..fin };
        peer.says(sooner, &[], b"another one");
        peer.data(0, b"a");
        assert!(!peer.stream.is_finished());
        peer.data(1, b"b");
        assert_eq!(peer.read(), [b"ab", payload].concat());
        assert!(peer.stream.is_finished());
        assert_eq!(peer.stream.state(), State::Connected, "our side is open");
        // A repeated one is acknowledged again, and nothing beyond it.
        peer.said();
        peer.says(fin, &[], payload);
        peer.data(3, b"beyond");
        assert_eq!(peer.said_one().header.ack, fin.seq);
        assert_eq!(peer.read(), b"");
    }
}

#[test]
fn a_fin_without_room_for_its_bytes_is_not_taken() {
    let mut peer = Peer::connected();
    peer.data(2, b"c");
    let fin = Header { seq: peer.seq.plus(1), ..peer.header(Kind::Fin) };
    peer.says(fin, &[], b"end");
    peer.data(0, b"a");
    assert_eq!(peer.said_one().header.ack, peer.seq);
    peer.says(fin, &[], b"end");
    assert_eq!((peer.said_one().header.ack, peer.read()), (fin.seq, b"aend".to_vec()));
    assert!(peer.stream.is_finished(), "what was kept beyond it is gone");
}

#[test]
fn data_above_a_fin_is_ignored_but_what_it_acknowledges_counts() {
    let mut peer = Peer::connected();
    peer.says(peer.header(Kind::Fin), &[], b"");
    peer.stream.write(b"late");
    peer.said();
    peer.ack = peer.syn.plus(1);
    assert_eq!(peer.data(1, b"beyond"), Reception::Taken);
    assert_eq!((peer.stream.unacknowledged(), peer.read()), (0, vec![]));
}

#[test]
fn closing_sends_what_was_written_then_a_fin_that_is_not_advanced_over() {
    let mut peer = Peer::connected();
    peer.stream.write(b"last");
    peer.stream.close();
    assert_eq!((peer.stream.state(), peer.stream.write(b"more")), (State::Closing, 0));
    let said = peer.said();
    let fin = peer.syn.plus(2);
    assert_eq!(said.len(), 2);
    assert_eq!((said[0].header.kind, &said[0].payload[..]), (Kind::Data, &b"last"[..]));
    assert_eq!((said[1].header.kind, said[1].header.seq), (Kind::Fin, fin));
    // What still comes is acknowledged, with the number of the FIN, and dropped.
    peer.data(0, b"unread");
    peer.data(1, b"unread");
    let state = peer.said_one().header;
    assert_eq!((state.kind, state.seq, state.ack), (Kind::State, fin, peer.seq.plus(1)));
    assert_eq!(peer.read(), b"");
    peer.wait(ms(500));
    let again: Vec<Kind> = peer.said().iter().map(|said| said.header.kind).collect();
    assert_eq!(again.last(), Some(&Kind::Fin), "it is sent again like data");
    peer.ack = fin;
    peer.state();
    assert_eq!(peer.stream.state(), State::Closed);
    assert_eq!((peer.said(), peer.stream.poll_timeout()), (vec![], None));
}

#[test]
fn giving_up_sends_one_reset_where_the_peer_knows_of_the_stream() {
    let mut peer = Peer::connected();
    peer.data(0, b"x");
    peer.stream.abort();
    let header = peer.said_one().header;
    let sent_id = peer.stream.receive_id().wrapping_add(1);
    assert_eq!((header.kind, header.connection_id), (Kind::Reset, sent_id));
    assert_eq!((header.seq, header.ack), (peer.syn.plus(1), peer.seq));
    assert_eq!((peer.said(), peer.stream.state()), (vec![], State::Closed));
    let mut peer = Peer::new(ms(8_000));
    peer.said();
    peer.stream.abort();
    assert_eq!((peer.said(), peer.stream.state()), (vec![], State::Closed));
}
