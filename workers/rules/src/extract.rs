//! From the text of a page to the fields of a record.
//!
//! [`compile`] turns a spec's fields into an [`Extractor`] or says which rule cannot work;
//! [`Extractor::extract`] is pure. The parts of a page that several rules look into (its JSON, its element tree)
//! are made once per page, and only if a rule asks for them.
//!
//! A rule finds a value when there is text at its place that is not empty after trimming, survives the rule's
//! transforms and reads as the field's type; otherwise the field's next rule is tried.

mod avro;
mod compile;
mod flight;
mod page;
mod scripts;
mod spec;
mod transform;
mod value;

use snafu::Snafu;

pub use avro::{AvroError, RecordSchema};
pub use compile::{CompileError, compile};
pub use spec::{Field, FieldType, Keep, Source, Transform};
pub use value::Value;

use compile::{CompiledField, Place};
use page::Page;

/// Compiled rules of one record. It may be shared between threads.
#[derive(Debug)]
pub struct Extractor {
    fields: Vec<CompiledField>,
}

/// The values of a record, one for each field in the order of the spec. `None` only for optional fields.
pub type Record = Vec<Option<Value>>;

/// A page that does not make a record.
#[derive(Clone, Debug, PartialEq, Eq, Snafu)]
#[snafu(display("no rule of the required field {field:?} finds a value"))]
pub struct Missing {
    /// The first required field without a value.
    pub field: String,
    /// Nothing that was asked for is on the page at all; what the URL says does not count. Sites serve such pages
    /// with status 200 for products that are gone.
    pub page_is_empty: bool,
}

impl Extractor {
    /// The record on the page `text`, which was found at `url`.
    pub fn extract(&self, text: &str, url: &str) -> Result<Record, Missing> {
        let page = Page::new(text, url);
        let mut record = Record::with_capacity(self.fields.len());
        let mut missing = None;
        let mut found_required = false;
        let mut found_any = false;
        for field in &self.fields {
            let found = field.find(&page);
            let on_page = found
                .as_ref()
                .is_some_and(|(_, place)| !matches!(place, Place::Url(_)));
            found_any |= on_page;
            found_required |= on_page && field.required;
            if field.required && found.is_none() {
                missing.get_or_insert(&field.name);
            }
            record.push(found.map(|(value, _)| value));
        }
        match missing {
            Some(field) => Err(Missing {
                field: field.clone(),
                page_is_empty: !found_required,
            }),
            None if found_any => Ok(record),
            None => match self.fields.iter().find(|field| field.is_sought_on_page()) {
                Some(field) => Err(Missing {
                    field: field.name.clone(),
                    page_is_empty: true,
                }),
                None => Ok(record),
            },
        }
    }
}

impl CompiledField {
    fn find(&self, page: &Page<'_>) -> Option<(Value, &Place)> {
        self.rules.iter().find_map(|rule| {
            let found = page.find(&rule.place, rule.wants_list)?;
            let transformed = transform::apply(&rule.transforms, found)?;
            Some((value::read(self.field_type, transformed)?, &rule.place))
        })
    }

    fn is_sought_on_page(&self) -> bool {
        self.rules.iter().any(|rule| !matches!(rule.place, Place::Url(_)))
    }
}

#[cfg(test)]
mod tests;
