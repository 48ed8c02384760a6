//! Bugs planted on purpose, one at a time: a checker that never fired is not trusted.
//!
//! Each stands at the very place where the right check lives, as one line that asks [`is`]. Without
//! the feature `planted-bugs` that is `false` at compile time and leaves nothing behind; with it,
//! no bug is there until the simulator plants one on its own thread. The switch is a thread-local
//! because every part of the core would otherwise have to carry it: it is the one exception to the
//! rule that behaviour follows from arguments alone, and nothing but the simulator may enable it.

/// Declares the bugs once: variant, name, and what it makes the crawler do.
macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $bug:ident = $name:literal,)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug { $($(#[doc = $doc])+ $bug,)* }

        impl Bug {
            /// Every one, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$bug),*];

            /// What it is called on the simulator's command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name),* }
            }

            /// What it makes the crawler do, in one sentence.
            pub const fn effect(self) -> &'static str {
                match self { $(Self::$bug => concat!($($doc),+).trim_ascii()),* }
            }
        }
    };
}

bugs! {
    /// Metadata counts as verified whatever it hashes to.
    SkipHash = "skip-hash",
    /// Samples are read at every byte instead of every twentieth.
    StrideOne = "stride-1",
    /// A node is sampled again at once, whatever interval it named.
    IgnoreInterval = "ignore-interval",
    /// Metadata is requested under our own extension id instead of the peer's.
    ForeignExtensionId = "foreign-extension-id",
    /// A reply counts whoever sent it, under whatever transaction.
    UnmatchedReply = "unmatched-reply",
    /// A reply that names one address nobody can own is dropped whole.
    DropReplyOnBogon = "drop-reply-on-bogon",
    /// The index of a piece to ask for is not held against how many there are.
    PieceIndexUnchecked = "piece-index-unchecked",
    /// Contacts are queued however often they are named, without any bound.
    UnboundedFrontier = "unbounded-frontier",
    /// Contacts are asked wherever they claim to live.
    MartianContacts = "martian-contacts",
    /// An address gets as many datagrams as there are to send.
    NoAddressPacing = "no-address-pacing",
    /// More connections are opened than were allowed.
    UnlimitedDials = "unlimited-dials",
    /// Every row is given out twice.
    RepeatedRows = "repeated-rows",
    /// Every byte of a peer puts the end of the exchange off.
    EndlessExchange = "endless-exchange",
    /// Queries go out faster than was allowed.
    RateUnlimited = "rate-unlimited",
    /// Queries do not say that we answer none.
    MissingReadOnly = "missing-read-only",
    /// Every query has the same transaction id.
    StaleTransactions = "stale-transactions",
    /// A query never expires.
    EndlessQuery = "endless-query",
    /// Time runs backwards with the caller's clock.
    BackwardClock = "backward-clock",
    /// What is due is still due after it was done.
    StaleDeadline = "stale-deadline",
    /// Infohashes under way are not taken up again from a saved state.
    ForgetPending = "forget-pending",
    /// An infohash is settled in the saved state when its row is taken, not when it is written.
    SettledBeforeWritten = "settled-before-written",
    /// A record says that a node was sampled, and not which infohashes it named.
    CalendarWithoutSamples = "calendar-without-samples",
    /// Known infohashes are looked up and fetched again.
    ForgetKnown = "forget-known",
    /// A frame whose length arrives in two parts is read wrongly.
    SplitFrames = "split-frames",
    /// A lookup asks a node that did not answer again.
    AskTwice = "ask-twice",
    /// Public routers are asked at once although contacts of an earlier run are known.
    RoutersAtOnce = "routers-at-once",
    /// A run without any answer is given twice the time before it fails.
    EndlessPatience = "endless-patience",
    /// What was told to end goes on asking.
    WorkAfterEnd = "work-after-end",
    /// Whatever waits is served in the order it came, whichever source it came from.
    FirstComeFirstServed = "first-come-first-served",
    /// A run is at its limit as soon as it takes nothing more on.
    EarlyLimit = "early-limit",
    /// A run that rests ends after half of the time asked for.
    HastyIdle = "hasty-idle",
    /// Work under way counts as none.
    IdleAtWork = "idle-at-work",
    /// A peer that does not take a connection in the clear is never asked for an encrypted one.
    PlanNeverFallsBack = "plan-never-falls-back",
    /// What keys agree on is hashed without its leading zeros.
    UnpaddedSecret = "unpadded-s",
    /// A connection over uTP is no new flow.
    UtpFlowBudgetIgnored = "utp-flow-budget-ignored",
    /// An acknowledgement of what was never sent is believed.
    UtpAcksUnsentTrusted = "utp-acks-unsent-trusted",
    /// A packet of uTP belongs to the stream of its id, whoever sent it.
    UtpIdConfusion = "utp-id-confusion",
    /// Requests count as settled once each is with the crawler.
    AbandonedRequests = "abandoned-requests",
}

/// Keeps a bug planted on this thread; dropped, it is gone.
#[cfg(feature = "planted-bugs")]
#[must_use]
#[derive(Debug)]
pub struct Planted {
    before: Option<Bug>,
    /// Of this thread alone.
    _stays: std::marker::PhantomData<*const ()>,
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use std::cell::Cell;

    thread_local! {
        /// The bug planted on this thread.
        pub(super) static PLANTED: Cell<Option<super::Bug>> = const { Cell::new(None) };
    }
}

/// Plants `bug` on this thread, in place of any other, until the guard is dropped.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Bug) -> Planted {
    Planted { before: switch::PLANTED.replace(Some(bug)), _stays: std::marker::PhantomData }
}

#[cfg(feature = "planted-bugs")]
impl Drop for Planted {
    fn drop(&mut self) {
        switch::PLANTED.set(self.before);
    }
}

/// Whether `bug` is planted on this thread.
#[cfg(feature = "planted-bugs")]
#[inline]
pub fn is(bug: Bug) -> bool {
    switch::PLANTED.get() == Some(bug)
}

/// Whether `bug` is planted: never, without the feature.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_effects_are_sentences() {
        for bug in Bug::ALL {
            assert_eq!(Bug::ALL.iter().filter(|other| other.name() == bug.name()).count(), 1);
            assert!(bug.effect().ends_with('.'), "{bug:?}: {}", bug.effect());
        }
    }

    #[test]
    fn no_bug_is_there_unless_planted() {
        assert!(!Bug::ALL.iter().any(|bug| is(*bug)));
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn a_bug_is_planted_until_its_guard_is_dropped() {
        let guard = plant(Bug::SkipHash);
        assert!(is(Bug::SkipHash) && !is(Bug::StrideOne));
        drop(guard);
        assert!(!is(Bug::SkipHash));
    }
}
