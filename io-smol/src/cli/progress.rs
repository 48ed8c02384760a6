//! What a person watches on stderr: a live line on a terminal, plain `# ` lines elsewhere.
//!
//! Numbers and lines made elsewhere only; whatever came from outside was made printable before.
//! A stderr that nobody reads never stops a run.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use estudely_core::{Duration, Stats};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::args::{ProgressMode, Verbosity};
use super::stderr;
use crate::engine::run::Observer;
use crate::files::lists::LinesRead;

/// Time between plain lines, and under `-v`.
const PLAIN_EVERY: Duration = Duration::from_secs(60);
const PLAIN_EVERY_VERBOSE: Duration = Duration::from_secs(10);
/// The pace shown is that of the last so many ticks, one a second.
const PACE_TICKS: usize = 15;
/// Width of the live line where there is no terminal to ask.
const FORCED_WIDTH: u16 = 100;

/// Writes one `# ` line to stderr.
pub fn say(line: &str) {
    stderr::line(&format!("# {line}"));
}

/// What is known about where the display would stand.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// stderr is a terminal that can move its cursor.
    pub terminal: bool,
    /// Rows are printed on a terminal, which the live line would share.
    pub rows_on_terminal: bool,
}

impl Surroundings {
    /// Looks at this process.
    pub fn here(rows_on_stdout: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self {
            terminal: io::stderr().is_terminal() && !dumb,
            rows_on_terminal: rows_on_stdout && io::stdout().is_terminal(),
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Live,
    Forced,
    Plain,
    Off,
}

fn style(mode: ProgressMode, here: Surroundings) -> Style {
    match mode {
        ProgressMode::Never => Style::Off,
        ProgressMode::Always if here.terminal => Style::Live,
        ProgressMode::Always => Style::Forced,
        ProgressMode::Auto if here.terminal && !here.rows_on_terminal => Style::Live,
        ProgressMode::Auto => Style::Plain,
    }
}

/// The ends that a run may be heading for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Goals {
    /// `--max-infohashes`
    pub max_infohashes: Option<u64>,
    /// `--overall-timeout`
    pub overall_timeout: Option<Duration>,
}

/// The display of one run.
pub struct Progress {
    bar: Option<ProgressBar>,
    plain_every: Option<Duration>,
    plain_last: Duration,
    goals: Goals,
    pace: VecDeque<(Duration, u64)>,
    /// Where the input's notes come from.
    input: Option<LinesRead>,
}

impl Progress {
    /// A display as asked for, in these surroundings.
    pub fn new(
        mode: ProgressMode,
        verbosity: Verbosity,
        here: Surroundings,
        goals: Goals,
        input: Option<LinesRead>,
    ) -> Self {
        let style = style(mode, here);
        let bar = match style {
            Style::Live | Style::Forced => {
                Some(ProgressDrawTarget::term_like(Box::new(Ansi::default())))
            }
            Style::Plain | Style::Off => None,
        };
        let bar = bar.map(|target| {
            let bar = ProgressBar::with_draw_target(None, target);
            match ProgressStyle::with_template("{spinner} {wide_msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        let every = match verbosity {
            Verbosity::Normal => PLAIN_EVERY,
            Verbosity::Verbose => PLAIN_EVERY_VERBOSE,
        };
        let plain_every = (style == Style::Plain).then_some(every);
        let plain_last = Duration::ZERO;
        Self { bar, plain_every, plain_last, goals, pace: VecDeque::new(), input }
    }

    /// Takes the live line away; what follows are lines that stay.
    pub fn finish(&mut self) {
        self.input_notes();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.plain_every = None;
    }

    fn input_notes(&mut self) {
        for line in self.input.iter().flat_map(LinesRead::take_notes).collect::<Vec<_>>() {
            self.note(&line);
        }
    }
}

impl Observer for Progress {
    fn tick(&mut self, elapsed: Duration, stats: &Stats) {
        self.input_notes();
        if self.pace.len() == PACE_TICKS {
            self.pace.pop_front();
        }
        self.pace.push_back((elapsed, stats.settled));
        if let Some(bar) = &self.bar {
            bar.set_message(line(elapsed, stats, pace(&self.pace), self.goals));
            bar.tick();
        }
        if let Some(every) = self.plain_every
            && elapsed >= self.plain_last + every
        {
            self.plain_last = elapsed;
            say(&line(elapsed, stats, pace(&self.pace), self.goals));
        }
    }

    fn note(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }
}

/// Infohashes settled a second between the first and the last tick.
fn pace(ticks: &VecDeque<(Duration, u64)>) -> f64 {
    match (ticks.front(), ticks.back()) {
        (Some((t0, n0)), Some((t1, n1))) if t1 > t0 => {
            n1.saturating_sub(*n0) as f64 / (*t1 - *t0).as_secs_f64()
        }
        _ => 0.0,
    }
}

/// The status line.
fn line(elapsed: Duration, stats: &Stats, pace: f64, goals: Goals) -> String {
    let mut line = format!(
        "{pace:.1} settled/s, {} settled, {} verified, {} nodes, {} queued, {} connections, {} \
         lost, {}",
        stats.settled,
        stats.verified,
        stats.table_nodes,
        stats.contacts_queued,
        stats.connections_open,
        share(stats.expired, stats.answered + stats.refused + stats.expired),
        clock(elapsed),
    );
    if let Some(left) = left(elapsed, stats, pace, goals) {
        line.push_str(&format!(", {} left", clock(left)));
    }
    line
}

/// Time to the goal that comes first, as far as it can be told.
fn left(elapsed: Duration, stats: &Stats, pace: f64, goals: Goals) -> Option<Duration> {
    let by_count = goals.max_infohashes.filter(|_| pace > 0.0).and_then(|max| {
        let seconds = max.saturating_sub(stats.settled) as f64 / pace;
        Duration::try_from_secs_f64(seconds).ok()
    });
    let by_time = goals.overall_timeout.map(|end| end.saturating_sub(elapsed));
    by_count.into_iter().chain(by_time).min()
}

/// `part` of `whole` in percent.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

/// Hours, minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The terminal of the live line, or what `--progress always` takes for one: a picture is put
/// together here and goes out whole, or not at all.
#[derive(Debug, Default)]
struct Ansi(Mutex<String>);

impl Ansi {
    fn put(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn by(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.put(&format!("\x1b[{n}{direction}")) }
    }
}

impl TermLike for Ansi {
    fn width(&self) -> u16 {
        let size = rustix::termios::tcgetwinsize(io::stderr());
        size.map(|size| size.ws_col).ok().filter(|width| *width > 0).unwrap_or(FORCED_WIDTH)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.by(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.by(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.by(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.by(n, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.put(&format!("{line}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let picture = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if !picture.is_empty() {
            stderr::frame(picture);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_line_needs_a_terminal_of_its_own() {
        let here = |terminal, rows_on_terminal| Surroundings { terminal, rows_on_terminal };
        assert_eq!(style(ProgressMode::Auto, here(true, false)), Style::Live);
        assert_eq!(style(ProgressMode::Auto, here(true, true)), Style::Plain);
        assert_eq!(style(ProgressMode::Auto, here(false, false)), Style::Plain);
        assert_eq!(style(ProgressMode::Always, here(true, true)), Style::Live);
        assert_eq!(style(ProgressMode::Always, here(false, false)), Style::Forced);
        assert_eq!(style(ProgressMode::Never, here(true, false)), Style::Off);
    }

    #[test]
    fn the_status_line_says_pace_loss_and_time_left() {
        let mut stats = Stats::default();
        (stats.settled, stats.verified) = (30, 20);
        (stats.answered, stats.expired) = (3, 1);
        let goals = Goals { max_infohashes: Some(50), overall_timeout: None };
        let text = line(Duration::from_secs(3_725), &stats, 2.0, goals);
        assert_eq!(
            text,
            "2.0 settled/s, 30 settled, 20 verified, 0 nodes, 0 queued, 0 connections, 25.0 % \
             lost, 1:02:05, 0:00:10 left"
        );
    }

    #[test]
    fn the_nearer_goal_is_the_time_left() {
        let stats = Stats::default();
        let goals =
            Goals { max_infohashes: Some(1_000), overall_timeout: Some(Duration::from_secs(60)) };
        assert_eq!(
            left(Duration::from_secs(50), &stats, 1.0, goals),
            Some(Duration::from_secs(10))
        );
        assert_eq!(left(Duration::from_secs(99), &stats, 0.0, goals), Some(Duration::ZERO));
        assert_eq!(left(Duration::ZERO, &stats, 0.0, Goals::default()), None);
    }

    #[test]
    fn the_pace_is_that_of_the_recent_ticks() {
        let at = |seconds, settled| (Duration::from_secs(seconds), settled);
        assert_eq!(pace(&VecDeque::from([at(1, 10), at(5, 30)])), 5.0);
        assert_eq!(pace(&VecDeque::from([at(1, 10)])), 0.0);
        assert_eq!(pace(&VecDeque::new()), 0.0);
    }
}
