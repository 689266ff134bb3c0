//! What can be wrong with a SinkConnector that a schema cannot see. Pure: no client.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use naru_api::{MysqlSink, SecretKey, SinkConnector, SinkConnectorSpec};

use super::connector_name;
use crate::{connect::Address, controller::Error, names::Names, settings::Settings};

/// Keys of a connector's configuration that follow from the spec's own fields, and the field to use instead.
const OURS: [(&str, &str); 5] = [
    ("name", "metadata.name"),
    ("connector.class", "class"),
    ("topics", "topics"),
    ("topics.regex", "topics"),
    ("tasks.max", "tasksMax"),
];

/// A SinkConnector that can work.
#[derive(Clone, Debug)]
pub struct ValidSinkConnector {
    pub namespace: String,
    /// Name under which it is registered with Connect.
    pub connector: String,
    pub topics: BTreeSet<String>,
    pub dead_letter_topic: String,
    pub tasks_max: i32,
    pub store: Store,
    pub connect: Address,
    pub bootstrap_servers: String,
}

/// What the records go into.
#[derive(Clone, Debug)]
pub enum Store {
    Mysql(MysqlSink),
    /// Any connector that the Connect cluster has.
    Class {
        class: String,
        config: BTreeMap<String, String>,
        secrets: BTreeMap<String, SecretKey>,
    },
}

impl Store {
    /// Which values of the connector's configuration come from which Secrets.
    pub fn secrets(&self) -> BTreeMap<String, SecretKey> {
        match self {
            Self::Class { secrets, .. } => secrets.clone(),
            Self::Mysql(mysql) => {
                let value = |key: &str| SecretKey {
                    secret: mysql.credentials_secret.clone(),
                    key: key.to_owned(),
                };
                BTreeMap::from([
                    ("connection.username".to_owned(), value("username")),
                    ("connection.password".to_owned(), value("password")),
                ])
            }
        }
    }
}

/// Checks what the schema could not, and fills in the defaults.
pub fn validate(settings: &Settings, sink: &SinkConnector) -> Result<ValidSinkConnector, Error> {
    let spec = &sink.spec;
    let namespace = sink.namespace().unwrap_or_default();
    let dead_letter_topic = Names {
        namespace: &namespace,
        name: &sink.name_any(),
    }
    .sink_dead_letter_topic();
    if spec.topics.contains(&dead_letter_topic) {
        return Err(Error::invalid(format!(
            "topics: {dead_letter_topic:?} takes what this connector cannot read, and must not be its input"
        )));
    }
    Ok(ValidSinkConnector {
        connector: connector_name(sink),
        topics: spec.topics.iter().cloned().collect(),
        dead_letter_topic,
        tasks_max: spec.tasks_max,
        store: validate_store(spec)?,
        connect: connect_address(settings, spec)?,
        bootstrap_servers: settings
            .bootstrap_servers(spec.kafka.as_ref().map(|kafka| &kafka.bootstrap_servers))?,
        namespace,
    })
}

/// Where the Connect cluster is that the spec or the settings name.
pub(super) fn connect_address(settings: &Settings, spec: &SinkConnectorSpec) -> Result<Address, Error> {
    let text = settings.connect_url(spec.connect.as_ref().map(|connect| &connect.url))?;
    // The text is not quoted: what cannot be parsed cannot be shown without its credentials.
    Address::parse(&text)
        .map_err(|problem| Error::invalid(format!("connect.url is not an address: {problem}")))
}

fn validate_store(spec: &SinkConnectorSpec) -> Result<Store, Error> {
    match (&spec.mysql, &spec.class) {
        (Some(mysql), None) => {
            validate_mysql(mysql)?;
            Ok(Store::Mysql(mysql.clone()))
        }
        (None, Some(class)) => {
            let config = spec.config.clone().unwrap_or_default();
            let secrets = spec.config_secrets.clone().unwrap_or_default();
            validate_keys("config", config.keys())?;
            validate_keys("configSecrets", secrets.keys())?;
            if let Some(key) = secrets.keys().find(|key| config.contains_key(*key)) {
                return Err(Error::invalid(format!(
                    "config and configSecrets both set {key:?}: remove one of them"
                )));
            }
            Ok(Store::Class {
                class: class.clone(),
                config,
                secrets,
            })
        }
        _ => Err(Error::invalid("exactly one of mysql and class must be set")),
    }
}

fn validate_keys<'a>(field: &str, keys: impl Iterator<Item = &'a String>) -> Result<(), Error> {
    for key in keys {
        if key.is_empty() {
            return Err(Error::invalid(format!("{field} has an entry without a key")));
        }
        if let Some((_, instead)) = OURS.iter().find(|(ours, _)| ours == key) {
            return Err(Error::invalid(format!(
                "{field} sets {key:?}, which naru sets from {instead}"
            )));
        }
    }
    Ok(())
}

/// Credentials in the address would be in plain sight of everybody who may read the resource.
fn validate_mysql(mysql: &MysqlSink) -> Result<(), Error> {
    let parameters = mysql.url.split_once('?').map_or("", |(_, parameters)| parameters);
    let keys = parameters
        .split('&')
        .filter_map(|parameter| parameter.split('=').next());
    for key in keys {
        if ["user", "username", "password"].contains(&key.to_ascii_lowercase().as_str()) {
            return Err(Error::invalid(format!(
                "mysql.url has the parameter {key:?}: credentials belong into the Secret that \
                 mysql.credentialsSecret names"
            )));
        }
    }
    Ok(())
}
