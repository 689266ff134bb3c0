//! The form of a log line: `{"timestamp", "level", "kind", "namespace", "name", ..., "message", ..., "target"}`.

use std::fmt;

use jiff::Timestamp;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{JsonFields, Writer},
    },
    registry::{LookupSpan, Scope},
};

/// Fields of an event beside those of the spans of naru's own that it happened in. Spans of libraries name nothing that a
/// person looks for.
pub(super) struct Json;

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields(fields) = fields;
        let mut line = Vec::with_capacity(256);
        let mut json = serde_json::Serializer::new(&mut line);
        let mut map = json.serialize_map(None).map_err(|_| fmt::Error)?;
        let mut entry = |key: &str, value: &Value| map.serialize_entry(key, value).map_err(|_| fmt::Error);
        entry("timestamp", &format!("{:.6}", Timestamp::now()).into())?;
        entry("level", &event.metadata().level().as_str().into())?;
        for (key, value) in object(context) {
            if !fields.contains_key(&key) {
                entry(&key, &value)?;
            }
        }
        for (key, value) in &fields {
            entry(key, value)?;
        }
        entry("target", &event.metadata().target().into())?;
        map.end().map_err(|_| fmt::Error)?;
        let line = String::from_utf8(line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// The fields of naru's own spans around the event, the innermost winning.
fn object<S>(context: &FmtContext<'_, S, JsonFields>) -> Map<String, Value>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut all = Map::new();
    for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
        if !span.metadata().target().starts_with("naru_") {
            continue;
        }
        let extensions = span.extensions();
        let fields = extensions.get::<FormattedFields<JsonFields>>();
        let parsed: Option<Map<String, Value>> =
            fields.and_then(|fields| serde_json::from_str(&fields.fields).ok());
        all.extend(parsed.unwrap_or_default());
    }
    all
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        self.0
            .insert(name.strip_prefix("r#").unwrap_or(name).to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
