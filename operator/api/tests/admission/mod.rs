//! What the API server does to a resource before it stores it, without a cluster: unknown fields, defaults, the
//! schema, keys of lists, and the CEL rules. Refusals have its words.

mod schema;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel;
use serde_json::Value;

/// Why the API server does not store a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field, such as `spec.topics[0]`.
    pub place: String,
    pub problem: String,
    pub what: String,
    /// The CEL rule that was broken, if it was one.
    pub rule: Option<String>,
}

impl Refusal {
    /// As `kubectl` shows it.
    pub fn message(&self) -> String {
        let parts = [&self.place, &self.problem, &self.what].into_iter();
        let said: Vec<_> = parts
            .filter(|part| !part.is_empty())
            .map(String::as_str)
            .collect();
        said.join(": ")
    }
}

/// The schema of a kind as it is installed.
pub fn schema_of(kind: &str) -> Value {
    let mut definitions = naru_api::definitions().into_iter();
    let found = definitions.find(|(_, definition)| definition.spec.names.kind == kind);
    schema(&found.unwrap().1)
}

/// The schema of a definition's one version.
fn schema(definition: &CustomResourceDefinition) -> Value {
    let validation = definition.spec.versions[0].schema.as_ref().unwrap();
    serde_json::to_value(validation.open_api_v3_schema.as_ref().unwrap()).unwrap()
}

/// The resource as it would be stored, with defaults, or all that is wrong with it. `old` is what it was before.
pub fn admit(schema: &Value, object: &Value, old: Option<&Value>) -> Result<Value, Vec<Refusal>> {
    let mut refusals = Vec::new();
    schema::unknown_fields(schema, object, "", &mut refusals);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut object = object.clone();
    schema::drop_nulls(schema, &mut object);
    let object = cel::apply_defaults(schema, &object);
    schema::validate(schema, &object, "", &mut refusals);
    // As the API server, which looks at rules only where the schema is content.
    if refusals.is_empty() {
        let broken = cel::Validator::new().validate(schema, &object, old).err();
        let broken = broken.iter().flat_map(cel::ValidationErrors::as_slice);
        refusals.extend(broken.map(|error| Refusal {
            place: match error.field_path.trim_start_matches('.') {
                "" => "<nil>".to_owned(),
                place => place.to_owned(),
            },
            problem: format!(
                "Invalid value: {:?}",
                schema::type_judged(schema, &error.rule).unwrap_or_default()
            ),
            what: error.message.clone(),
            rule: Some(error.rule.clone()),
        }));
    }
    if refusals.is_empty() {
        Ok(object)
    } else {
        Err(refusals)
    }
}

/// Every CEL rule of a schema.
pub fn rules(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value.as_array()) {
                ("x-kubernetes-validations", Some(rules)) => rules
                    .iter()
                    .map(|rule| rule["rule"].as_str().unwrap().to_owned())
                    .collect(),
                _ => rules(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}
