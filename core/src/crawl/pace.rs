//! Rate limits as state plus a deadline: each limiter answers "now" or "not before t" and never
//! sleeps. Everything the crawl sends passes through here.
//!
//! A limit named N per period is kept in *every* window of that length: a twentieth of it may come
//! as a burst, the rest is spread evenly. Limits per address or prefix name their burst themselves.

mod bucket;
mod shared;
mod allowances;
mod queries;
mod flows;
mod addresses;
mod prefixes;
#[cfg(test)]
mod testing;

pub(crate) use addresses::AddressPacer;
pub(crate) use flows::{FlowPacer, Purpose};
pub(crate) use prefixes::PrefixPacer;
pub(crate) use queries::QueryPacer;
