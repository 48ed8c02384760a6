//! The population as nodes know it during an epoch of churn: who was there when it began.
//!
//! Within an epoch nothing is learnt, so answers go stale as they do in a real DHT: they still
//! name who left, and do not yet name who came. Views are made when asked for and a few are kept;
//! each follows from the world alone, so that forgetting one changes nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::world::routing::Population;

/// How long a view holds, seconds: real tables are refreshed every quarter of an hour (BEP 5), and
/// lookups do it in between.
pub const EPOCH_S: u64 = 300;
/// Views kept.
const VIEWS_MAX: usize = 8;

/// Who was there.
#[derive(Debug)]
pub(super) struct View {
    /// All that tables may hold, dead addresses included.
    pub(super) everyone: Population,
    /// Those that answer.
    pub(super) live: Population,
    /// Those to whom peers announce themselves, if that is not all who answer.
    pub(super) honest: Option<Population>,
}

impl View {
    /// Those among whom the nearest to a key store its peers.
    pub(super) fn storing(&self) -> &Population {
        self.honest.as_ref().unwrap_or(&self.live)
    }
}

/// The last views asked for.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<VecDeque<(u64, Arc<View>)>>);

impl Views {
    /// The view of `epoch`, made by `make` unless it is kept.
    pub(super) fn get(&self, epoch: u64, make: impl FnOnce() -> View) -> Arc<View> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, view)) = kept.iter().find(|(of, _)| *of == epoch) {
            return view.clone();
        }
        let view = Arc::new(make());
        kept.truncate(VIEWS_MAX - 1);
        kept.push_front((epoch, view.clone()));
        view
    }
}
