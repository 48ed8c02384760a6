//! Standard output, written by a thread of its own: a reader that stops reading stops neither the
//! loop nor its end.
//!
//! Never writes part of a line where that can be helped: a write of at most `PIPE_BUF` bytes into
//! a pipe is whole or not at all, so the lines go out in writes of that size. Only a longer line
//! can be torn, by the end of a process whose reader does not take it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// With so many bytes waiting to be written, no more rows are wanted.
const WAITING_BYTES_MAX: usize = 64 << 10;
/// Most bytes waiting at all. While a run goes on nothing is put in without room, so one block is
/// the most there is; its end puts in every row that is left.
const HELD_BYTES_MAX: usize = 64 << 20;
/// Most bytes that a pipe takes whole or not at all (POSIX `PIPE_BUF`).
const ATOMIC_BYTES: usize = libc::PIPE_BUF;
/// How long the end of a run waits for a reader that takes nothing.
const LAST_WAIT: Duration = Duration::from_millis(400);

/// The end that rows are put into. Dropping it lets what waits go out, as long as the process
/// lives.
#[derive(Debug)]
pub(super) struct Stream(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Lines>,
    /// Bytes waiting, and those being written.
    bytes: usize,
    /// Rows written.
    rows: u64,
    /// Blocks written: the rows of one infohash each, be there none.
    held: u64,
    lost: Option<(io::ErrorKind, String)>,
    waker: Option<Waker>,
    closed: bool,
    /// Until when room is waited for by those who put in more than there is room for.
    patience: Option<Instant>,
    /// The reader did not take what was waiting: nothing is added any more.
    given_up: bool,
}

/// Lines that begin alike: what they share is held once, for a name can be megabytes long.
#[derive(Debug)]
struct Lines {
    head: Vec<u8>,
    tails: Vec<String>,
    what: What,
}

/// What lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The first line of a table.
    Header,
    /// The rows of one infohash.
    Block,
}

impl Lines {
    fn len(&self) -> usize {
        self.tails.iter().map(|tail| self.head.len() + tail.len()).sum()
    }
}

impl Stream {
    /// Starts the thread that writes to `file`, called `name` in messages.
    ///
    /// # Errors
    /// The system grants no thread.
    pub(super) fn start(file: File, name: String) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        thread::Builder::new().name("stdout".into()).spawn(move || theirs.work(file, &name))?;
        Ok(Self(shared))
    }

    /// Puts lines behind those that wait. Where that would be more than [`HELD_BYTES_MAX`], waits a
    /// moment for the reader; these lines and all later ones are given up if it takes nothing.
    ///
    /// # Errors
    /// What an earlier write met.
    pub(super) fn push(&self, head: &[u8], tails: &[String], what: What) -> io::Result<()> {
        let bytes = tails.iter().map(|tail| head.len() + tail.len()).sum();
        let mut state = self.wait_for_room(bytes);
        state.result()?;
        if state.given_up {
            return Ok(());
        }
        let lines = Lines { head: head.to_vec(), tails: tails.to_vec(), what };
        state.bytes += lines.len();
        state.waiting.push_back(lines);
        self.0.changed.notify_all();
        Ok(())
    }

    fn wait_for_room(&self, bytes: usize) -> MutexGuard<'_, State> {
        let mut state = self.0.lock();
        if state.has_room(bytes) || state.given_up {
            return state;
        }
        let now = Instant::now();
        let until = *state.patience.get_or_insert(now + LAST_WAIT);
        let stuck = |state: &mut State| !state.has_room(bytes);
        let most = until.saturating_duration_since(now);
        let waited = self.0.changed.wait_timeout_while(state, most, stuck);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.given_up = !state.has_room(bytes);
        state
    }

    /// Ready when there is room for more, or never will be.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_below(WAITING_BYTES_MAX, cx)
    }

    /// Ready when everything is written, or never will be.
    pub(super) fn poll_drained(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_below(1, cx)
    }

    /// Waits until everything is written, but not for long: what a reader does not take is given
    /// up.
    ///
    /// # Errors
    /// What a write met.
    pub(super) fn drain(&self) -> io::Result<()> {
        let stuck = |state: &mut State| state.bytes > 0 && state.lost.is_none() && !state.given_up;
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), LAST_WAIT, stuck);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.bytes > 0 && state.lost.is_none() {
            // What the state is about to call pending must not go out after all.
            state.give_up();
        }
        state.result()
    }

    /// Nothing more goes out but what is being written.
    pub(super) fn give_up(&self) {
        self.0.lock().give_up();
        self.0.changed.notify_all();
    }

    /// Blocks that have been written, in their order.
    pub(super) fn held(&self) -> u64 {
        self.0.lock().held
    }

    /// Rows that have been written.
    pub(super) fn rows(&self) -> u64 {
        self.0.lock().rows
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl State {
    fn result(&self) -> io::Result<()> {
        match &self.lost {
            Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
            None => Ok(()),
        }
    }

    fn give_up(&mut self) {
        self.given_up = true;
        let dropped: usize = self.waiting.drain(..).map(|lines| lines.len()).sum();
        self.bytes -= dropped;
    }

    /// Whether `bytes` more may wait: one block always may, and none waits for a lost reader.
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= HELD_BYTES_MAX || self.lost.is_some()
    }

    fn poll_below(&mut self, bytes: usize, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.lost.is_none() && self.bytes >= bytes {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(self.result())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: writes until nobody puts in any more, or a write fails.
    fn work(&self, mut file: File, name: &str) {
        loop {
            let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
            let waited = self.changed.wait_while(self.lock(), idle);
            let next = waited.unwrap_or_else(PoisonError::into_inner).waiting.pop_front();
            let Some(lines) = next else { return };
            let result = write_lines(&mut file, &lines);
            let mut state = self.lock();
            match &result {
                Ok(()) => {
                    state.bytes -= lines.len();
                    if lines.what == What::Block {
                        state.rows += lines.tails.len() as u64;
                        state.held += 1;
                    }
                }
                Err(error) => {
                    state.lost = Some((error.kind(), format!("{name}: {error}")));
                    state.waiting.clear();
                }
            }
            self.changed.notify_all();
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
            if result.is_err() {
                return;
            }
        }
    }
}

/// Writes whole lines at once, as many as the system takes undivided.
fn write_lines(file: &mut impl Write, lines: &Lines) -> io::Result<()> {
    let mut chunk = Vec::new();
    for tail in &lines.tails {
        if lines.head.len() > ATOMIC_BYTES {
            // Divided anyhow: so without a copy of what may be 30 MiB.
            file.write_all(&lines.head)?;
            file.write_all(tail.as_bytes())?;
            continue;
        }
        if !chunk.is_empty() && chunk.len() + lines.head.len() + tail.len() > ATOMIC_BYTES {
            file.write_all(&chunk)?;
            chunk.clear();
        }
        chunk.extend_from_slice(&lines.head);
        chunk.extend_from_slice(tail.as_bytes());
    }
    file.write_all(&chunk)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use smol::future;

    use super::*;

    fn piped() -> (Stream, io::PipeReader) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let file = File::from(OwnedFd::from(writer));
        (Stream::start(file, "the pipe".to_owned()).expect("a thread"), reader)
    }

    fn line(n: usize) -> [String; 1] {
        [format!("{n:099}\n")]
    }

    /// Puts lines in until there is no room for any more; returns how many.
    fn fill(stream: &Stream) -> usize {
        let mut count = 0;
        // The pipe takes what it takes: it is full when the thread stands still with all waiting.
        while count < 4 * (WAITING_BYTES_MAX + (1 << 20)) / 100 {
            stream.push(b"", &line(count), What::Block).expect("nothing is lost");
            count += 1;
        }
        count
    }

    #[test]
    fn a_reader_that_does_not_read_is_waited_for_only_so_long_and_sees_whole_lines() {
        let (stream, mut reader) = piped();
        fill(&stream);
        let waker = Waker::noop();
        assert!(stream.poll_room(&Context::from_waker(waker)).is_pending());
        let begun = Instant::now();
        stream.drain().expect("stuck, not lost");
        assert!(begun.elapsed() < Duration::from_secs(1));
        let rows = stream.rows();
        // The pipe holds whole lines.
        let mut held = vec![0; rows as usize * 100];
        reader.read_exact(&mut held).expect("as many as counted");
        let text = String::from_utf8(held).expect("text");
        assert!(text.lines().enumerate().all(|(n, text)| text.parse() == Ok(n)));
        // What was not written by then never is: the next run writes it.
        assert!((rows..=rows + 1).contains(&stream.held()), "but for the one being written");
        assert!(stream.0.lock().waiting.is_empty());
    }

    #[test]
    fn rows_count_in_their_order_once_they_are_written_and_so_do_infohashes_without_any() {
        let (stream, mut reader) = piped();
        stream.push(b"", &line(0), What::Header).expect("nothing is lost");
        for tails in [&line(1)[..], &[], &[line(2), line(3)].concat()] {
            stream.push(b"", tails, What::Block).expect("nothing is lost");
        }
        let mut text = vec![0; 400];
        reader.read_exact(&mut text).expect("all of it");
        smol::block_on(future::poll_fn(|cx| stream.poll_drained(cx))).expect("drained");
        stream.push(b"", &[], What::Block).expect("nothing is lost");
        while stream.held() < 4 {
            thread::yield_now();
        }
        assert_eq!((stream.held(), stream.rows()), (4, 3));
    }

    #[test]
    fn a_reader_that_comes_back_gets_everything_in_order() {
        let (stream, mut reader) = piped();
        let count = fill(&stream);
        let taken = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        smol::block_on(future::poll_fn(|cx| stream.poll_drained(cx))).expect("drained");
        assert_eq!(stream.rows(), count as u64);
        drop(stream);
        let text = taken.join().expect("ends").expect("read");
        assert!(text.lines().enumerate().all(|(n, text)| text.parse() == Ok(n)));
        assert_eq!(text.lines().count(), count);
    }

    #[test]
    fn the_end_of_a_run_never_holds_more_than_its_bound_for_a_reader_that_does_not_read() {
        let (stream, reader) = piped();
        let head = vec![b'x'; HELD_BYTES_MAX / 4];
        let begun = Instant::now();
        for n in 0..20 {
            stream.push(&head, &line(n), What::Block).expect("nothing is lost");
            let held: usize = stream.0.lock().waiting.iter().map(Lines::len).sum();
            assert!(held <= HELD_BYTES_MAX && stream.0.lock().bytes <= HELD_BYTES_MAX);
        }
        stream.drain().expect("stuck, not lost");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(stream.0.lock().given_up);
        drop(reader);
    }

    #[test]
    fn a_slow_reader_gets_the_blocks_that_had_to_wait_for_room() {
        let (stream, mut reader) = piped();
        let head = vec![b'x'; HELD_BYTES_MAX / 2];
        // However busy the machine is.
        stream.0.lock().patience = Some(Instant::now() + Duration::from_secs(120));
        let taken = thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        (0..3).for_each(|n| stream.push(&head, &line(n), What::Block).expect("nothing is lost"));
        smol::block_on(future::poll_fn(|cx| stream.poll_drained(cx))).expect("drained");
        assert_eq!(stream.rows(), 3);
        drop(stream);
        assert_eq!(taken.join().expect("ends").expect("read"), 3 * (head.len() as u64 + 100));
    }

    #[test]
    fn a_reader_that_left_is_reported_to_whoever_waits_and_puts_in_more() {
        let (stream, reader) = piped();
        drop(reader);
        stream.push(b"a", &line(0), What::Block).expect("not known yet");
        let waited = smol::block_on(future::poll_fn(|cx| stream.poll_drained(cx)));
        assert_eq!(waited.expect_err("lost").kind(), io::ErrorKind::BrokenPipe);
        let error = stream.push(b"a", &line(1), What::Block).expect_err("lost");
        assert!(error.to_string().starts_with("the pipe: "), "{error}");
        assert_eq!(stream.rows(), 0);
    }
}
