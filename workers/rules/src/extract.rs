//! From the text of a page to the fields of a record.

mod spec;

pub use spec::{Field, FieldType, Keep, Source, Transform};
