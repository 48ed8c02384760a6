//! One file for each named situation, with what is to be expected of it, exactly.

mod baiters;
mod bootstrap_silent;
mod clock_slips;
mod dht_bootstrap;
mod dual_stack;
mod eclipse;
mod encrypted;
mod half_sybil;
mod interval_restart;
mod mass_timeout;
mod partition_heal;
mod rate_accounting;
mod reject_storm;
mod sessions;
mod slow_loris;
mod slow_nodes;
mod spoofed_replies;
mod storage_expiry;
mod three_days;
mod unsampled;
mod utp;
