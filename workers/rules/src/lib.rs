//! What users write inside a spec, as plain types, and the pure code that compiles and runs it.
//!
//! The operator compiles a spec's rules to refuse what cannot work, with a message that names the field; the
//! workers compile the same rules to run them. Nothing here does I/O.

pub mod decimal;
pub mod extract;
pub mod filter;
pub mod url_template;
