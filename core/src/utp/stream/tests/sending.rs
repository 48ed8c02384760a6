//! What is on its way, what is lost, when it is sent again.

use super::*;

/// A peer to whom exactly `count` full packets are on their way: the window grew before.
fn flying(count: usize) -> Peer {
    let mut peer = Peer::connected();
    peer.stream.expect(1 << 20);
    peer.said();
    for _ in 0..8 {
        peer.stream.write(&[7; 24 * 1024]);
        while let Some(last) = peer.said().last() {
            peer.ack = last.header.seq;
            peer.state();
        }
    }
    peer.stream.write(&vec![7; count * 528]);
    assert_eq!(seqs(&peer.said()).len(), count);
    peer
}

fn seqs(said: &[Said]) -> Vec<u16> {
    said.iter().filter(|s| s.header.kind == Kind::Data).map(|s| s.header.seq.0).collect()
}

#[test]
fn no_packet_is_longer_than_548_bytes_and_what_is_held_is_bounded() {
    let mut peer = Peer::connected();
    assert_eq!(peer.stream.write(&[1; 5_000]), 528, "so much is held at first");
    assert_eq!(peer.said_one().payload.len(), 528);
    peer.stream.expect(1);
    assert_eq!(peer.stream.write(&[1; 50_000]), 24 * 1024 - 528);
    assert_eq!(peer.said_one().payload.len(), 528, "the first window is two packets");
    peer.ack = peer.syn.plus(2);
    peer.state();
    assert_eq!(seqs(&peer.said()).len(), 4, "and doubles");
}

#[test]
fn a_packet_without_acknowledgement_is_sent_again_and_the_wait_doubles() {
    let mut peer = Peer::connected();
    peer.stream.write(b"again");
    let first = peer.said_one();
    // A round trip of 40 ms: 500 ms is the least.
    for wait in [500, 1_000, 2_000, 4_000] {
        peer.wait(ms(wait - 1));
        assert_eq!(peer.said(), []);
        peer.wait(ms(1));
        let again = peer.said_one();
        assert_eq!((again.header.seq, again.payload), (first.header.seq, b"again".to_vec()));
    }
    peer.wait(ms(7_999));
    assert_eq!(peer.stream.state(), State::Connected);
    peer.wait(ms(1));
    assert_eq!(peer.stream.state(), State::Failed(Fault::DeliveryTimeout));
    assert_eq!(peer.said(), []);
}

#[test]
fn a_round_trip_is_measured_only_where_one_copy_was_sent() {
    let mut peer = Peer::connected();
    peer.stream.write(b"a");
    peer.said();
    peer.wait(ms(500));
    assert_eq!(peer.said().len(), 1);
    // Of which copy, nobody knows.
    peer.wait(ms(900));
    peer.ack = peer.syn.plus(1);
    peer.state();
    peer.stream.write(b"b");
    peer.said();
    peer.wait(ms(499));
    assert_eq!(peer.said(), []);
    peer.wait(ms(1));
    assert_eq!(peer.said().len(), 1, "the wait is that of the first sample again");
}

#[test]
fn three_states_that_acknowledge_the_same_mean_that_the_next_is_lost() {
    let mut peer = flying(6);
    for _ in 0..2 {
        peer.state();
        assert_eq!(peer.said(), []);
    }
    // Nor does a late one count, that acknowledges less.
    let late = Header { ack: peer.ack.minus(1), ..peer.header(Kind::State) };
    for _ in 0..3 {
        assert_eq!(peer.says(late, &[], &[]), Reception::Taken);
        assert_eq!(peer.said(), []);
    }
    // A packet with data is sent for the sake of the data.
    peer.data(0, b"d");
    assert_eq!(seqs(&peer.said()), [0; 0]);
    peer.state();
    assert_eq!(seqs(&peer.said()), [peer.ack.plus(1).0]);
    for _ in 0..5 {
        peer.state();
        assert_eq!(seqs(&peer.said()), [0; 0], "once");
    }
}

#[test]
fn a_packet_is_lost_once_three_beyond_it_arrived() {
    let mut peer = flying(8);
    let lost = peer.ack.plus(1);
    let header = peer.header(Kind::State);
    peer.says(header, &[0b0000_0011], &[]);
    assert_eq!(peer.said(), [], "two are too few");
    // The first packet and the fifth are missing; three arrived beyond the first.
    peer.says(header, &[0b0000_0111], &[]);
    assert_eq!(seqs(&peer.said()), [lost.0]);
    // Beyond the other one as well.
    peer.says(header, &[0b0111_0111], &[]);
    assert_eq!(seqs(&peer.said()), [lost.plus(4).0]);
    // A mask of any length, and bits for what was never sent.
    peer.says(header, &[0xff; 255], &[]);
    assert_eq!(peer.said(), []);
    peer.ack = lost.plus(7);
    peer.state();
    assert_eq!((peer.stream.unacknowledged(), peer.stream.poll_timeout()), (0, None));
}

#[test]
fn a_shut_window_is_probed_one_packet_at_a_time() {
    let mut peer = Peer::new(ms(8_000));
    peer.said();
    peer.wait(ms(40));
    peer.window = 0;
    peer.state();
    peer.stream.write(&[5; 528]);
    assert_eq!(peer.said(), []);
    peer.wait(ms(500));
    assert_eq!(peer.said_one().payload.len(), 528);
    peer.ack = peer.ack.plus(1);
    peer.state();
    // It may open a little.
    peer.stream.write(&[5; 528]);
    assert_eq!(peer.said(), []);
    peer.window = 100;
    peer.state();
    assert_eq!(peer.said_one().payload.len(), 100);
    // One that stays shut and acknowledges nothing is a peer that is gone.
    peer.window = 0;
    peer.state();
    for _ in 0..5 {
        assert_eq!(peer.stream.state(), State::Connected);
        let due = peer.stream.poll_timeout().expect("it is tried again");
        peer.wait(due.since(peer.now));
        peer.said();
    }
    assert_eq!(peer.stream.state(), State::Failed(Fault::DeliveryTimeout));
}
