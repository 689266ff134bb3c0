//! Patterns and rules that several kinds have in common.

use kube::core::{Message, Rule};

/// A name that Kafka takes for a topic: `.` and `..` are none.
pub(crate) const TOPIC: &str = "^[a-zA-Z0-9._-]*[a-zA-Z0-9_-][a-zA-Z0-9._-]*$";
/// A name that Avro takes for a field.
pub(crate) const FIELD: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// A name that Kubernetes takes for a Secret.
pub(crate) const SECRET: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A key that a Secret may have.
pub(crate) const SECRET_KEY: &str = "^[-._a-zA-Z0-9]+$";

/// The name leaves room for what is made of it.
pub(crate) fn short_name() -> Rule {
    // Without `fieldPath`: the API server knows of no field below `metadata`.
    Rule::new("size(self.metadata.name) <= 52")
        .message("metadata.name must have at most 52 characters, since what belongs to it is named after it")
}

/// A length of time between two others, both included.
pub(crate) fn between(least: &str, most: &str) -> Rule {
    Rule::new(format!(
        "duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    ))
    .message(Message::Expression(format!(
        "'is ' + self + ', expected from {least} to {most}'"
    )))
}

/// A topic that naru writes to is neither one that it names itself nor one of Kafka's own.
pub(crate) fn writable_topic() -> Rule {
    Rule::new("!self.startsWith('naru.') && !self.startsWith('__')").message(Message::Expression(
        "'is ' + self + ', expected a topic that begins neither with naru. nor with __, which are kept for naru and for Kafka itself'".to_owned(),
    ))
}

/// An optional part that stays as it was when the resource was created.
pub(crate) fn fixed(field: &str, why: &str) -> Rule {
    Rule::new(format!(
        "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    ))
    .message(format!("{field} cannot be changed, since {why}").as_str())
}

/// Keys of a connector's configuration that follow from fields of the spec.
pub(crate) fn keys_of_others() -> Rule {
    Rule::new("['name', 'topics', 'topics.regex', 'tasks.max', 'connector.class'].all(key, !(key in self))").message(
        "name, topics, topics.regex, tasks.max and connector.class are set by naru: use metadata.name, topics, tasksMax and class",
    )
}
