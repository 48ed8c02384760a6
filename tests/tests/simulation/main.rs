//! Whole runs of the crawler in a virtual internet, in virtual time.

mod scenarios;
mod support;
