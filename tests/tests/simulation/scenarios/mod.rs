//! One file for each named situation, with what is to be expected of it, exactly.

mod eclipse;
mod half_sybil;
mod mass_timeout;
mod reject_storm;
mod slow_loris;
mod spoofed_replies;
