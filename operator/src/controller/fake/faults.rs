//! What goes wrong between the operator and the API server.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, StatusCode, header::RETRY_AFTER};

use super::{
    Memory, Server,
    memory::{Asked, refusal, response},
};

/// Longer than anybody waits for an answer.
const SILENCE: Duration = Duration::from_secs(31);

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This status, and nothing is done.
    Refused(u16),
    /// The connection breaks before what was asked for is done, or after it.
    Cut { done: bool },
    /// No answer, before what was asked for is done, or after it. Needs a paused clock.
    Silent { done: bool },
    /// What is read is as it was so many changes ago. A change is made as ever.
    Stale(usize),
}

/// What becomes of the requests to come, in their order. None, and after the last one: they are answered.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<VecDeque<Option<Fault>>>>);

impl Faults {
    /// What becomes of the requests after those.
    pub(crate) fn add(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.0.lock().unwrap().extend(faults);
    }

    /// Requests until all is well.
    pub(crate) fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn next(&self) -> Option<Fault> {
        self.0.lock().unwrap().pop_front().flatten()
    }
}

impl Memory {
    /// Answers the requests of one more context until it is gone.
    pub(crate) fn answer(&self, mut server: Server, faults: Faults) {
        let memory = self.clone();
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, send)) = server.next_request().await {
                let asked = Asked::read(request).await;
                let reads = asked.method == Method::GET;
                let answer = |ago| response(memory.world(|world| world.answer(asked, ago)));
                match faults.next() {
                    None => send.send_response(answer(0)),
                    Some(Fault::Stale(ago)) => send.send_response(answer(if reads { ago } else { 0 })),
                    Some(Fault::Refused(status)) => {
                        let status = StatusCode::from_u16(status).unwrap();
                        let reason = status.canonical_reason().unwrap_or_default();
                        let mut refused = response(refusal(status, reason));
                        if status == StatusCode::TOO_MANY_REQUESTS {
                            refused.headers_mut().insert(RETRY_AFTER, 1.into());
                        }
                        send.send_response(refused);
                    }
                    Some(Fault::Cut { done }) => {
                        _ = done.then(|| answer(0));
                        drop(send);
                    }
                    Some(Fault::Silent { done }) => {
                        _ = done.then(|| answer(0));
                        unanswered.push(send);
                        tokio::time::advance(SILENCE).await;
                    }
                }
            }
        });
    }
}
