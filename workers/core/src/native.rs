//! What is asked of librdkafka directly: all `unsafe` code of the workers is here.
#![allow(unsafe_code, reason = "a C library knows no other")]

mod batch;

pub(crate) use self::batch::BatchConsumer;
pub use self::batch::{Batch, Message};
