//! 9.6 and M9: clients that serve only a part of what they are asked for at once.

use proptest::prelude::*;

use super::*;

/// What a client does with the requests of one write.
#[derive(Clone, Copy, Debug)]
enum Queue {
    /// Serves so many and rejects the rest.
    Rejects(usize),
    /// Serves so many and drops the rest.
    Drops(usize),
}

/// A conversation with such a client, a tenth of a second away; the time it took and the sizes of
/// our writes.
fn serve(content: &[u8], queue: Queue, clients: Clients) -> (Talk, Duration, Vec<usize>) {
    serve_over(ALL.transport, content, queue, clients)
}

fn serve_over(
    transport: Transport,
    content: &[u8],
    queue: Queue,
    clients: Clients,
) -> (Talk, Duration, Vec<usize>) {
    let mut talk = Talk::with(sha1_key(content), Attempt { transport, ..ALL }, None);
    talk.exchange = talk.exchange.clone().with_clients(clients);
    talk.hears(&hello(sha1_key(content))).said();
    let begun = talk.now;
    talk.hears(&offer(content.len() as i64));
    let mut writes = Vec::new();
    while talk.is_open() {
        let asked = talk.requests();
        if asked.is_empty() {
            let wait = talk.exchange.poll_timeout().since(talk.now);
            talk.waits(wait);
            continue;
        }
        writes.push(asked.len());
        talk.waits(SECOND / 10);
        for (at, piece) in asked.into_iter().enumerate() {
            if !talk.is_open() {
                break;
            }
            match queue {
                Queue::Rejects(most) | Queue::Drops(most) if at < most => {
                    talk.hears(&data(content, piece));
                }
                Queue::Rejects(_) => {
                    talk.hears(&reject(piece));
                }
                Queue::Drops(_) => {}
            }
        }
    }
    let took = talk.now.since(begun);
    (talk, took, writes)
}

#[test]
fn i9_6_sixty_four_pieces_are_asked_for_in_one_write_and_the_next_when_these_came() {
    let content = content(150 * PIECE_LEN);
    let (talk, took, writes) = serve(&content, Queue::Rejects(64), Clients::default());
    assert_eq!(talk.metadata().raw(), content);
    assert_eq!((writes, took), (vec![64, 64, 22], 3 * SECOND / 10));
    assert_eq!(talk.outcome.and_then(|outcome| outcome.learnt), None);
}

#[test]
fn i9_6_over_utp_eight_pieces_are_asked_for_at_once_and_never_more() {
    let content = content(20 * PIECE_LEN);
    let over = |clients| serve_over(Transport::Utp, &content, Queue::Rejects(64), clients);
    let (talk, _, writes) = over(Clients::default());
    assert_eq!(talk.metadata().raw(), content);
    assert_eq!(writes, [8, 8, 4]);
    // That says nothing of the client, and what is known of it only makes rounds smaller.
    let learnt = talk.outcome.and_then(|outcome| outcome.learnt);
    assert_eq!(learnt, None);
    let (_, _, writes) = over(Clients::default());
    assert_eq!(writes, [8, 8, 4]);
}

#[test]
fn i9_6_a_client_that_rejects_or_drops_what_does_not_fit_is_asked_for_less() {
    let content = content(125 * PIECE_LEN);
    for (queue, most) in [
        (Queue::Rejects(40), 3),
        (Queue::Rejects(5), 8),
        (Queue::Rejects(1), 20),
        (Queue::Drops(40), 3),
        (Queue::Drops(3), 8),
        (Queue::Drops(1), 16),
    ] {
        let (talk, took, writes) = serve(&content, queue, Clients::default());
        assert_eq!(talk.metadata().raw(), content, "{queue:?}");
        assert!(took <= most * SECOND, "{queue:?}: {took:?}, {writes:?}");
        let learnt = talk.outcome.and_then(|outcome| outcome.learnt).expect("something");
        let (Queue::Rejects(fits) | Queue::Drops(fits)) = queue;
        assert!(usize::from(learnt.batch) <= fits && learnt.lost_some, "{queue:?}: {learnt:?}");
        // The next one of that name is asked for no more at first, and once for more after that.
        let mut clients = Clients::default();
        clients.learn(learnt);
        let (talk, again, writes) = serve(&content, queue, clients);
        assert_eq!(talk.metadata().raw(), content, "{queue:?}");
        assert!(writes[0] <= fits, "{queue:?}: {writes:?}");
        let more = writes.iter().filter(|requests| **requests > fits);
        assert!(more.count() <= 1, "{queue:?}: {writes:?}");
        assert!(again <= took, "{queue:?}: {again:?} after {took:?}");
    }
}

#[test]
fn i9_6_what_others_of_its_name_did_slows_no_peer_for_longer_than_it_takes_to_show_better() {
    let content = content(127 * PIECE_LEN);
    let mut clients = Clients::default();
    let (talk, ..) = serve(&content, Queue::Drops(1), clients.clone());
    clients.learn(talk.outcome.and_then(|outcome| outcome.learnt).expect("something"));
    let (talk, took, writes) = serve(&content, Queue::Rejects(64), clients);
    assert_eq!((writes, took), (vec![1, 2, 4, 8, 16, 32, 64], 7 * SECOND / 10));
    let learnt = talk.outcome.and_then(|outcome| outcome.learnt).expect("something");
    assert_eq!((learnt.batch, learnt.lost_some), (64, false));
}

#[test]
fn i9_6_an_exchange_of_few_pieces_proves_no_more_than_it_asked_for() {
    let mut clients = Clients::default();
    let (talk, ..) = serve(&content(125 * PIECE_LEN), Queue::Rejects(20), clients.clone());
    let learnt = talk.outcome.and_then(|outcome| outcome.learnt).expect("something");
    clients.learn(learnt);
    let (talk, ..) = serve(&content(3 * PIECE_LEN), Queue::Rejects(20), clients.clone());
    let few = talk.outcome.and_then(|outcome| outcome.learnt).expect("something");
    assert_eq!((few.batch, few.lost_some), (3, false));
    for _ in 0..99 {
        clients.learn(few);
    }
    assert_eq!(clients.batch(&learnt.client), Some(learnt.batch));
}

#[test]
fn i9_6_what_was_only_late_is_no_loss() {
    let content = content(40 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.waits(SECOND / 10).hears(&data(&content, 0));
    // The line stands still for a second; then all comes, and what was asked for again twice.
    talk.waits(SECOND);
    let again = talk.requests();
    assert!(!again.is_empty());
    (1..30).for_each(|piece| {
        talk.hears(&data(&content, piece));
    });
    again.into_iter().for_each(|piece| {
        talk.hears(&data(&content, piece));
    });
    (30..40).for_each(|piece| {
        talk.hears(&data(&content, piece));
    });
    assert_eq!(talk.metadata().raw(), content);
    assert_eq!(talk.outcome.and_then(|outcome| outcome.learnt), None);
}

#[test]
fn i9_6_rtorrent_is_never_asked_for_two_pieces_at_once() {
    let content = content(9 * PIECE_LEN);
    let hash = sha1_key(&content);
    let mut talk = Talk::with(hash, ALL, None);
    let mut hello = Vec::new();
    Handshake::new(hash, *b"-lt0D80-peerpeerpeer").emit(&mut hello);
    talk.hears(&hello).said();
    talk.hears(&offer(content.len() as i64));
    for piece in 0..9 {
        assert_eq!(talk.requests(), [piece]);
        talk.hears(&data(&content, piece));
    }
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn m8_a_reject_of_a_request_that_was_made_again_leaves_the_first_one() {
    let content = content(3 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.waits(SECOND / 10).hears(&data(&content, 0));
    talk.waits(SECOND);
    assert_eq!(talk.requests(), [1]);
    talk.hears(&reject(1)).hears(&data(&content, 1)).hears(&data(&content, 2));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn i9_6_what_was_given_up_for_lost_is_taken_whenever_it_comes() {
    let content = content(64 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.waits(SECOND / 10).hears(&data(&content, 0));
    // Each time what is asked for again is all that comes, so the rest counts as lost twice over.
    for _ in 0..4 {
        talk.waits(6 * SECOND);
        for piece in talk.requests() {
            talk.hears(&data(&content, piece));
        }
    }
    for piece in (1..64).rev() {
        if talk.is_open() {
            talk.hears(&data(&content, piece));
        }
    }
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn i9_6_the_first_request_is_sent_again_alone_if_nothing_comes() {
    let content = content(3 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.waits(5 * SECOND);
    assert_eq!(talk.requests(), [0]);
    talk.waits(SECOND).hears(&data(&content, 0)).hears(&data(&content, 0));
    talk.hears(&data(&content, 1)).hears(&data(&content, 2));
    assert_eq!(talk.metadata().raw(), content, "all were late, none lost");

    let mut single = Talk::offered(&content[..100], ALL, None);
    single.waits(9 * SECOND);
    assert!(single.is_open() && single.said().is_empty(), "one request is never lost");
}

#[test]
fn i9_6_a_slow_line_is_not_asked_over_and_over() {
    let content = content(20 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    let mut asked = 0;
    for piece in 0..20 {
        // Each piece needs three seconds, and comes in parts.
        let bytes = data(&content, piece);
        for part in bytes.chunks(bytes.len() / 6 + 1) {
            talk.waits(SECOND / 2).hears(part);
        }
        asked += if talk.is_open() { talk.requests().len() } else { 0 };
    }
    assert_eq!(talk.metadata().raw(), content);
    assert!(asked <= 2, "{asked}");
}

#[test]
fn m8_an_answer_to_a_request_that_was_made_again_is_no_stray() {
    let content = content(30 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.waits(SECOND / 10).hears(&data(&content, 0));
    talk.waits(SECOND);
    assert_eq!(talk.requests(), [1]);
    for piece in (1..20).chain(1..2).chain(20..30) {
        talk.hears(&data(&content, piece));
    }
    assert_eq!(talk.metadata().raw(), content);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_fits_all_pieces_come_in_the_end(
        pieces in 1..200_usize,
        fits in 1..80_usize,
        drops: bool,
    ) {
        let content = content(pieces * PIECE_LEN - 7);
        let queue = if drops { Queue::Drops(fits) } else { Queue::Rejects(fits) };
        let (talk, _, writes) = serve(&content, queue, Clients::default());
        prop_assert_eq!(talk.fault(), None);
        prop_assert!(writes.iter().all(|requests| *requests <= 64));
        let asked: usize = writes.iter().sum();
        prop_assert!(asked <= 3 * pieces + 64, "{} requests", asked);
    }
}
