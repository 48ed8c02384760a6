use estudely_core::limits::METADATA_MAX;

use super::*;

const START: Instant = Instant::START;

fn greeted() -> DecoyPeer {
    let mut decoy = DecoyPeer::new(START, 7);
    let mut out = Vec::new();
    let hash = InfoHash([9; 20]);
    let ours = speech::handshake(speech::reserved(true, false), hash, &[1; 20]);
    assert_eq!(decoy.handle_bytes(START, &ours, &mut out), Step::Continue);
    assert_eq!(&out[28..48], &hash.0, "it has whatever is asked for");
    assert!((OFFERED as usize) < METADATA_MAX);
    out.clear();
    speech::extended(&mut out, 0, &[b"d1:md11:ut_metadatai5eee"]);
    for piece in [4, 2, 4] {
        let request = format!("d8:msg_typei0e5:piecei{piece}ee");
        speech::extended(&mut out, OWN_ID, &[request.as_bytes()]);
    }
    let (first, second) = out.split_at(50);
    for bytes in [first, second] {
        let mut said = Vec::new();
        assert_eq!(decoy.handle_bytes(START, bytes, &mut said), Step::Continue);
        assert!(said.is_empty(), "it takes its time");
    }
    decoy
}

#[test]
fn pieces_asked_for_come_one_by_one_and_once() {
    let mut decoy = greeted();
    for (turn, piece) in (1..).zip([4, 2]) {
        let due = START + PIECE_EVERY * turn;
        assert_eq!(decoy.poll_timeout(), due);
        let mut out = Vec::new();
        assert_eq!(decoy.handle_timeout(due, &mut out), Step::Continue);
        let head = speech::data_head(piece, Some(i64::from(OFFERED)), false);
        assert_eq!(&out[6..6 + head.len()], head.as_bytes());
        assert_eq!(out.len(), 6 + head.len() + METADATA_PIECE_LEN as usize);
    }
    let last = START + PIECE_EVERY * 2;
    assert_eq!(decoy.poll_timeout(), last + IDLE);
    assert_eq!(decoy.handle_timeout(last + IDLE, &mut Vec::new()), Step::Close);
}

#[test]
fn what_is_no_handshake_is_left_alone() {
    let mut decoy = DecoyPeer::new(START, 1);
    let mut out = Vec::new();
    assert_eq!(decoy.handle_bytes(START, &[0; HANDSHAKE_LEN], &mut out), Step::Close);
    assert!(out.is_empty());
}
