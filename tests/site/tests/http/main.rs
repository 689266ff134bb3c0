//! The site as its clients see it: over HTTP, on a loopback port.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is a test, also what stands outside its functions"
)]

mod checks;
mod crawl;
mod faults;
mod flight;
mod pages;
mod running;
