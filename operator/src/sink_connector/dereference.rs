//! What a SinkConnector refers to: Secrets, topics, and the connector as Connect has it now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use naru_api::{SecretKey, condition::reason};

use super::validate::ValidSinkConnector;
use crate::{
    connect::{Config, Connect, Mask, Registered},
    controller::{Context, Error, error::within},
    endpoint::Freshness,
};

/// Topics that are asked for at once.
const CONCURRENT: usize = 8;

/// What was found.
#[derive(Debug)]
pub(super) struct Referred {
    /// Values from Secrets, by the key of the connector's configuration.
    pub(super) secrets: Config,
    /// Connect, with these values and the ones that are registered masked.
    pub(super) connect: Connect,
    pub(super) registered: Option<Registered>,
}

/// Fetches everything, or says what is missing.
pub(super) async fn dereference(
    context: &Context,
    sink: &ValidSinkConnector,
    freshness: Freshness,
) -> Result<Referred, Error> {
    let secrets = secrets(context, &sink.namespace, &sink.store.secrets()).await?;
    topics_exist(context, sink, freshness).await?;
    let cluster = context.connects.get(&sink.connect);
    let found = Connect::new(Arc::clone(&cluster), Mask::of(entries(&secrets)))
        .look(&sink.connector)
        .await?;
    // A task may still complain of a password that the Secret no longer has.
    let old = found.iter().flat_map(|found| {
        let keys = secrets.0.keys().map(String::as_str);
        keys.filter_map(|key| Some((key, found.config.get(key)?)))
    });
    let connect = Connect::new(cluster, Mask::of(entries(&secrets).chain(old)));
    Ok(Referred {
        registered: found.map(|found| connect.masked(found)),
        connect,
        secrets,
    })
}

fn entries(config: &Config) -> impl Iterator<Item = (&str, &str)> {
    config.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

async fn secrets(
    context: &Context,
    namespace: &str,
    wanted: &BTreeMap<String, SecretKey>,
) -> Result<Config, Error> {
    let api = Api::<Secret>::namespaced(context.client.clone(), namespace);
    let names: BTreeSet<&str> = wanted.values().map(|value| value.secret.as_str()).collect();
    let mut found = BTreeMap::new();
    for name in names {
        let answer = within(api.get_opt(name), || format!("read Secret {name:?}"));
        let secret = answer.await?.ok_or_else(|| {
            Error::dependency(
                reason::SECRET_MISSING,
                format!("there is no Secret {name:?} in namespace {namespace:?}"),
            )
        })?;
        found.insert(name, secret);
    }
    let resolved = wanted.iter().map(|(key, value)| {
        let secret = &found[value.secret.as_str()];
        Ok((key.clone(), text(secret, value)?))
    });
    resolved.collect::<Result<_, Error>>().map(Config)
}

/// The text under a key of a Secret. Pure.
fn text(secret: &Secret, SecretKey { secret: name, key }: &SecretKey) -> Result<String, Error> {
    let missing = || {
        Error::dependency(
            reason::SECRET_KEY_MISSING,
            format!("Secret {name:?} has no key {key:?}"),
        )
    };
    let bytes = secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .ok_or_else(missing)?;
    String::from_utf8(bytes.0.clone()).map_err(|_| {
        Error::dependency(
            reason::SECRET_NOT_TEXT,
            format!("key {key:?} of Secret {name:?} is not UTF-8 text"),
        )
    })
}

async fn topics_exist(
    context: &Context,
    sink: &ValidSinkConnector,
    freshness: Freshness,
) -> Result<(), Error> {
    let kafka = context.kafka.get(&sink.bootstrap_servers)?;
    let missing: Vec<String> = stream::iter(sink.topics.clone())
        .map(|topic| {
            let kafka = Arc::clone(&kafka);
            async move { Ok::<_, Error>(kafka.sought(&topic, freshness).await?.is_none().then_some(topic)) }
        })
        .buffered(CONCURRENT)
        .try_filter_map(|missing| async move { Ok(missing) })
        .try_collect()
        .await?;
    match missing.as_slice() {
        [] => Ok(()),
        [topic] => Err(Error::dependency(
            reason::TOPIC_MISSING,
            format!("topics: there is no topic {topic:?} yet"),
        )),
        topics => Err(Error::dependency(
            reason::TOPIC_MISSING,
            format!("topics: there are no topics {topics:?} yet"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn of(data: &[(&str, &[u8])], key: &str) -> Result<String, Error> {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())))
            .collect();
        let secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        text(
            &secret,
            &SecretKey {
                secret: "mysql".to_owned(),
                key: key.to_owned(),
            },
        )
    }

    #[test]
    fn a_key_that_is_missing_or_not_text_is_named_and_its_value_is_not() {
        assert_eq!(of(&[("password", b"geheim")], "password").unwrap(), "geheim");
        let missing = of(&[("pass", b"geheim")], "password").unwrap_err();
        assert_eq!(
            (missing.reason(), missing.sentence().as_str()),
            ("SecretKeyMissing", "Secret \"mysql\" has no key \"password\"")
        );
        let binary = of(&[("password", b"geheim\xff")], "password").unwrap_err();
        assert_eq!(
            binary.sentence(),
            "key \"password\" of Secret \"mysql\" is not UTF-8 text"
        );
    }
}
