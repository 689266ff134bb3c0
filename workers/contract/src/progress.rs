//! What a worker tells the operator: a note beside each offset that it commits, where the operator reads anyway.

use serde::{Deserialize, Serialize};

/// The metadata of a committed offset. As with documents, fields are only added, and are optional.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// How much of its time the worker that committed this works on records rather than waits for them, 0 to 1, over the last
    /// seconds; the time of commits counts as neither. None: it does not know yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<f64>,
}

impl Progress {
    /// Less than 100 characters.
    pub fn to_metadata(self) -> String {
        serde_json::to_string(&self).expect("numbers can always be written as JSON")
    }

    /// None: it is something else, as of somebody else or of an earlier version.
    pub fn of_metadata(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_earlier_and_later_versions() {
        let progress = Progress { busy: Some(0.43) };
        let metadata = progress.to_metadata();
        assert_eq!(metadata, r#"{"busy":0.43}"#);
        assert_eq!(Progress::of_metadata(&metadata), Some(progress));
        let later = r#"{"busy":0.43,"more":1}"#;
        assert_eq!(Progress::of_metadata(later), Some(progress));
        assert_eq!(Progress::of_metadata("{}"), Some(Progress::default()));
        for other in ["", "1 2", "busy"] {
            assert_eq!(Progress::of_metadata(other), None);
        }
    }
}
