//! What is believed of a packet, and what of a RESET.

use super::*;

#[test]
fn an_acknowledgement_of_the_unsent_or_of_the_distant_past_is_ignored_whole() {
    let mut peer = Peer::connected();
    for _ in 0..5 {
        peer.stream.write(b"x");
        peer.said();
        peer.ack = peer.ack.plus(1);
        assert_eq!(peer.state(), Reception::Taken);
    }
    peer.stream.write(b"on its way");
    peer.said();
    let acked = peer.ack;
    for (ack, expected, read) in [
        (acked.plus(2), Reception::Ignored, &b""[..]),
        (acked.plus(0x4000), Reception::Ignored, b""),
        (acked.plus(0x8000), Reception::Ignored, b""),
        (acked.minus(4), Reception::Ignored, b""),
        (acked.minus(3), Reception::Taken, b"d"),
        (acked, Reception::Taken, b""),
    ] {
        peer.ack = ack;
        assert_eq!(peer.data(0, b"d"), expected, "{ack:?} after {acked:?}");
        assert_eq!(peer.read(), read);
    }
    assert_eq!(peer.stream.unacknowledged(), 10);
    peer.ack = acked.plus(1);
    assert_eq!(peer.state(), Reception::Taken);
    assert_eq!(peer.stream.unacknowledged(), 0);
}

#[test]
fn a_packet_too_far_from_the_next_one_is_ignored_whole() {
    let mut peer = Peer::connected();
    peer.stream.write(b"x");
    peer.said();
    peer.ack = peer.ack.plus(1);
    let next = peer.seq;
    for kind in [Kind::Data, Kind::Fin, Kind::State] {
        for seq in [next.plus(2_049), next.minus(2_049), next.plus(0x8000), next.plus(30_000)] {
            let header = Header { seq, ..peer.header(kind) };
            assert_eq!(peer.says(header, &[], b"far"), Reception::Ignored, "{kind:?} {seq:?}");
        }
    }
    assert_eq!(peer.stream.unacknowledged(), 1);
    peer.seq = next.plus(2_048);
    assert_eq!(peer.state(), Reception::Taken, "a STATE names what is sent next");
    assert_eq!(peer.stream.unacknowledged(), 0);
}

#[test]
fn a_reset_of_either_id_counts_if_it_acknowledges_what_is_on_its_way() {
    let id = Peer::connected().stream.receive_id();
    for (connection_id, beyond, ends) in [
        (id, 0, true),
        (id.wrapping_add(1), 0, true),
        // What it answers may have taken no number.
        (id, 2, true),
        (id, 3, false),
        (id, -3, true),
        (id, -4, false),
        (id.wrapping_sub(1), 0, false),
        (id.wrapping_add(2), 0, false),
        (id, 0x4000, false),
    ] {
        let mut peer = Peer::connected();
        peer.stream.write(b"x");
        peer.said();
        let ack = Seq(peer.syn.0.wrapping_add(beyond as u16));
        let header = Header { connection_id, ack, seq: Seq(1), ..peer.header(Kind::Reset) };
        let expected = if ends { Reception::Taken } else { Reception::Ignored };
        assert_eq!(peer.says(header, &[], &[]), expected, "{connection_id} {beyond}");
        let state = if ends { State::Failed(Fault::Reset) } else { State::Connected };
        assert_eq!(peer.stream.state(), state);
        assert!(!ends || peer.said().is_empty(), "a RESET is not answered");
    }
}

#[test]
fn a_reset_refuses_a_syn_and_ends_what_is_being_closed() {
    let mut peer = Peer::new(ms(8_000));
    assert_eq!(peer.says(peer.header(Kind::Reset), &[], &[]), Reception::Ignored, "no SYN yet");
    peer.said();
    let stranger = Header { ack: peer.syn.plus(1), ..peer.header(Kind::Reset) };
    assert_eq!(peer.says(stranger, &[], &[]), Reception::Ignored);
    assert_eq!(peer.says(peer.header(Kind::Reset), &[], &[]), Reception::Taken);
    assert_eq!(peer.stream.state(), State::Failed(Fault::Refused));

    let mut peer = Peer::connected();
    peer.stream.close();
    peer.said();
    peer.ack = peer.syn.plus(1);
    assert_eq!(peer.says(peer.header(Kind::Reset), &[], &[]), Reception::Taken);
    assert_eq!(peer.stream.state(), State::Closed, "who acknowledges the FIN has all of it");
}

#[test]
fn a_syn_and_what_is_no_packet_change_nothing() {
    let mut peer = Peer::connected();
    assert_eq!(peer.says(peer.header(Kind::Syn), &[], &[]), Reception::Ignored);
    let short = Reception::Malformed(PacketError::TooShort);
    assert_eq!(peer.stream.handle_datagram(peer.now, b"d1:ad"), short);
    assert_eq!(peer.said(), []);
}

#[test]
fn h47_an_earlier_instant_counts_as_the_latest_one_of_a_stream() {
    let mut peer = Peer::connected();
    peer.stream.write(b"x");
    peer.said();
    let due = peer.stream.poll_timeout().expect("a timer");
    peer.stream.handle_timeout(Instant::START);
    let mut out = Vec::new();
    assert_eq!(peer.stream.poll_transmit(Instant::START, &mut out), None);
    peer.now = Instant::START;
    peer.data(0, b"y");
    assert!(peer.stream.poll_timeout() <= Some(due));
    peer.wait(due.since(Instant::START));
    assert_eq!(peer.said().last().map(|said| said.header.timestamp), Some(5_540_000));
}
