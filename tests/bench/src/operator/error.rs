//! Why a measurement could not be made.

use snafu::Snafu;

/// A tool for people: what was attempted, and what came of it. Nothing is decided by the kind of error.
#[derive(Debug, Snafu)]
#[snafu(whatever, display("{message}"))]
pub(crate) struct Error {
    message: String,
    #[snafu(source(from(Box<dyn std::error::Error + Send + Sync>, Some)))]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// The whole chain of causes.
    pub(crate) fn sentence(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
