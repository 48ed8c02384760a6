//! stderr, written by a thread of its own: one that nobody reads (a full pipe, a terminal stopped
//! by Ctrl-S) holds up neither rows, nor the timeout, nor a signal.
//!
//! What waits is bounded; what does not fit is dropped, counted, and its number said once there is
//! room again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most bytes that wait to be written: some 500 lines.
const WAITING_BYTES_MAX: usize = 64 << 10;
/// The same for a picture of the live display.
const FRAME_WAITING_MAX: usize = 4 << 10;
/// How long the end of a run waits for a reader that takes nothing.
const LAST_WAIT: Duration = Duration::from_millis(400);

/// That of this process.
static STDERR: LazyLock<Writer> = LazyLock::new(|| Writer::start(io::stderr()));

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A line, counted if it is dropped.
    Line,
    /// A picture of a live display: there will be another, so little may wait before it, and one
    /// that is dropped is no loss.
    Frame,
}

impl Kind {
    /// Most bytes that wait with it.
    const fn waiting_max(self) -> usize {
        match self {
            Self::Line => WAITING_BYTES_MAX,
            Self::Frame => FRAME_WAITING_MAX,
        }
    }
}

/// Writes one line.
pub(super) fn line(text: &str) {
    STDERR.put(format!("{text}\n"), Kind::Line);
}

/// Writes one picture of a live display.
pub(super) fn frame(text: String) {
    STDERR.put(text, Kind::Frame);
}

/// Waits until everything is written, for a moment at most.
pub(super) fn finish() {
    STDERR.finish();
}

/// The end that texts are put into.
struct Writer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<String>,
    /// Bytes waiting, and those being written.
    bytes: usize,
    /// Lines that did not fit since the last text that did.
    dropped: u64,
}

impl Writer {
    /// Starts the thread that writes to `out`. If the system grants none, all is dropped: there is
    /// no way to say so.
    fn start(out: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = thread::Builder::new().name("stderr".into()).spawn(move || theirs.work(out));
        drop(thread);
        Self(shared)
    }

    /// Puts a text behind those that wait, if there is room for it.
    fn put(&self, text: String, kind: Kind) {
        let mut state = self.0.lock();
        let told = state.told_of_dropped();
        if state.bytes > 0 && state.bytes + told.len() + text.len() > kind.waiting_max() {
            state.dropped += u64::from(kind == Kind::Line);
            return;
        }
        state.dropped = 0;
        for text in [told, text] {
            state.bytes += text.len();
            state.waiting.push_back(text);
        }
        self.0.changed.notify_all();
    }

    /// Whether everything is written, after a moment's wait at most.
    fn finish(&self) -> bool {
        let stuck = |state: &mut State| state.bytes > 0;
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), LAST_WAIT, stuck);
        waited.unwrap_or_else(PoisonError::into_inner).0.bytes == 0
    }
}

impl State {
    /// What to say of lines that were dropped.
    fn told_of_dropped(&self) -> String {
        match self.dropped {
            0 => String::new(),
            n => format!("# {n} lines left out here: stderr was not read\n"),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn work(&self, mut out: impl Write) {
        loop {
            let idle = |state: &mut State| state.waiting.is_empty();
            let waited = self.changed.wait_while(self.lock(), idle);
            let next = waited.unwrap_or_else(PoisonError::into_inner).waiting.pop_front();
            let text = next.unwrap_or_default();
            // A reader that left misses nothing.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            self.lock().bytes -= text.len();
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_hears_how_much_it_missed() {
        let (reader, pipe) = io::pipe().expect("a pipe");
        let writer = Writer::start(pipe);
        // Far more than the pipe and what may wait take together.
        for n in 0..50_000 {
            writer.put(format!("# {n:096}\n"), Kind::Line);
            assert!(writer.0.lock().bytes <= WAITING_BYTES_MAX);
        }
        assert!(writer.0.lock().dropped > 0);
        let dropped = writer.0.lock().dropped;
        (0..9).for_each(|_| writer.put("a picture".to_owned(), Kind::Frame));
        assert_eq!(writer.0.lock().dropped, dropped, "a picture is no line");
        assert!(!writer.finish(), "and no end");
        let read = thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
            lines.take_while(|line| line != "# the end").collect::<Vec<_>>()
        });
        while !writer.finish() {}
        writer.put("# at last\n".to_owned(), Kind::Line);
        writer.put("# the end\n".to_owned(), Kind::Line);
        let lines = read.join().expect("reads");
        let missed = |line: &String| {
            let said = line.strip_suffix(" lines left out here: stderr was not read")?;
            said.strip_prefix("# ")?.parse::<usize>().ok()
        };
        let told: Vec<usize> = lines.iter().filter_map(missed).collect();
        let whole = lines.iter().filter(|line| line.len() == 98).count();
        assert_eq!(whole + told.iter().sum::<usize>(), 50_000, "{told:?}");
        assert_eq!(lines.len(), whole + told.len() + 1);
        assert_eq!(lines.last().map(String::as_str), Some("# at last"));
    }

    #[test]
    fn a_text_longer_than_what_may_wait_goes_out_where_nothing_waits() {
        let (reader, pipe) = io::pipe().expect("a pipe");
        let writer = Writer::start(pipe);
        writer.put(format!("{}\n", "x".repeat(2 * WAITING_BYTES_MAX)), Kind::Line);
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).expect("text");
        assert_eq!(line.len(), 2 * WAITING_BYTES_MAX + 1);
    }
}
