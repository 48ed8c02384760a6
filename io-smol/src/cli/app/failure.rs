//! Exit statuses, and the line that goes with one that is no success.

/// Ended as asked.
pub const OK: u8 = 0;
/// The run could not do its work.
pub const FAILED: u8 = 1;
/// The command line, the input or an output cannot be used.
pub const USAGE: u8 = 2;

/// An exit status other than [`OK`], and the line that says why.
pub(super) struct Failure {
    pub(super) status: u8,
    pub(super) line: String,
}

impl Failure {
    pub(super) fn new(status: u8, line: impl ToString) -> Self {
        Self { status, line: line.to_string() }
    }
}
