//! What is asked of C libraries directly: all `unsafe` code of the operator is here.
#![allow(unsafe_code, reason = "C libraries know no other")]

mod memory;
mod offsets;

pub(crate) use self::{
    memory::give_back,
    offsets::{Committed, committed},
};
