//! Catches the panic of a run with its words and its place, and prints nothing of it. Panics
//! outside of runs are none of its business.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// What the last panic of a run on this thread said; `None` outside runs.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread is inside a run.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `job`; what it said if it panicked, without printing it.
pub(super) fn catch(job: impl FnOnce()) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let outer = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !INSIDE.get() {
                return outer(info);
            }
            let place =
                info.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
            let text = format!("{}{}", message(info.payload()), place.unwrap_or_default());
            // The first one is the cause of those that follow.
            SAID.with_borrow_mut(|said| {
                said.get_or_insert(text);
            });
        }));
    });
    SAID.set(None);
    INSIDE.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(job));
    INSIDE.set(false);
    let said = SAID.take();
    result.err().map(|payload| said.unwrap_or_else(|| message(&*payload).to_owned()))
}

fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}
