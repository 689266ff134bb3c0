//! The client of the Kubernetes API, with what all requests of the operator go through.

mod guard;
#[cfg(test)]
mod tests;

use kube::{Client, Config, client::ClientBuilder};

pub use self::guard::{Guard, Refused};
use crate::{leader::Fence, metrics::ApiRequests};

/// For everything but the election: changes nothing once the fence has fallen.
pub fn fenced(config: Config, counted: &ApiRequests, fence: Fence) -> kube::Result<Client> {
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
