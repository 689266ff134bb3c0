//! The client of the Kubernetes API, with what all requests of the operator go through.

mod guard;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::{Client, Config, client::ClientBuilder};

pub use self::guard::{Guard, Refused};
use crate::{leader::Fence, metrics::ApiRequests};

/// How long a connection may say nothing in the midst of an answer. Longer than a watch of kube's asks to be kept open
/// for (295 s): nothing need happen meanwhile.
const SILENCE: Duration = Duration::from_secs(300);

/// For everything but the election: changes nothing once the fence has fallen.
pub fn fenced(mut config: Config, counted: &ApiRequests, fence: Fence) -> kube::Result<Client> {
    // The guard sees to the head of an answer only, and a list without an end would be waited for without an end.
    config.read_timeout = Some(SILENCE);
    Ok(ClientBuilder::try_from(config)?
        .with_layer(counted)
        .with_layer(&Guard::new(fence))
        .build())
}

/// For the Lease alone, whose renewal is what keeps the fence up. A connection of its own, so that renewals never queue
/// behind other requests, and no retries but those of the election.
pub fn of_the_election(mut config: Config, counted: &ApiRequests) -> kube::Result<Client> {
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.with_layer(counted).build())
}
