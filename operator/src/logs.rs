//! Logs: one JSON object a line, with the resource that the line is about.
//!
//! The filter can be changed while the operator runs, by a file: whoever may write it may read the logs as well, and no
//! door into the process is needed that others in the cluster could find.

mod json;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::LevelFilter,
    fmt::{MakeWriter, format::JsonFields},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use self::json::Json;

/// Time between two looks at the file. The kubelet takes up to a minute to bring a change of a ConfigMap.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Without a file, or with a wrong one.
const DEFAULT: &str = "info";

/// The filter in force.
pub struct Filter {
    handle: reload::Handle<EnvFilter, Registry>,
    file: Option<PathBuf>,
    /// As it was last read, right or wrong: each text is told of once.
    text: Option<String>,
}

/// Sends logs to standard output. The filter is that of the file, if there is one, or that of `RUST_LOG`.
pub fn init(file: Option<PathBuf>) -> Filter {
    let (subscriber, mut filter) = subscriber(file, std::io::stdout);
    subscriber.init();
    filter.look();
    filter
}

fn subscriber<W>(file: Option<PathBuf>, writer: W) -> (impl Subscriber + Send + Sync, Filter)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let text = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = parse(or_default(&text)).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let (layer, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(Json)
        .with_writer(writer);
    let subscriber = Registry::default().with(layer.and_then(lines));
    let text = None;
    (subscriber, Filter { handle, file, text })
}

impl Filter {
    /// Follows the file until `stop`.
    pub async fn follow(mut self, stop: CancellationToken) {
        while self.file.is_some()
            && stop
                .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
                .await
                .is_some()
        {
            self.look();
        }
    }

    /// Takes over what the file says, if that is new. A filter that is wrong changes nothing.
    fn look(&mut self) {
        let Some(file) = &self.file else { return };
        // A few bytes in memory: the folder is a volume of the kubelet's.
        let text = read(file);
        if self.text.as_ref() == Some(&text) {
            return;
        }
        match parse(&text) {
            Ok(filter) => {
                if let Err(error) = self.handle.reload(filter) {
                    tracing::error!(%error, "failed to change the log filter");
                } else {
                    tracing::info!(filter = text, "log filter");
                }
            }
            Err(error) => {
                let file = file.display();
                tracing::warn!(%file, filter = text, %error, "the log filter is none, and stays as it was");
            }
        }
        self.text = Some(text);
    }
}

fn read(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    or_default(&text).to_owned()
}

fn or_default(text: &str) -> &str {
    match text.trim() {
        "" => DEFAULT,
        text => text,
    }
}

/// The filter that a text declares, or what is wrong with it. To tracing a lone word that is no level is a target, of
/// which everything is logged, and of all others nothing: a slip would end all logs.
fn parse(text: &str) -> Result<EnvFilter, String> {
    let is_slip = |word: &&str| !word.contains(['=', '[']) && word.parse::<LevelFilter>().is_err();
    if let Some(slip) = text.split(',').find(is_slip) {
        return Err(format!(
            "{slip:?} is neither a level (off, error, warn, info, debug, trace) nor target=level"
        ));
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

    /// Logs of this thread, of all levels, for as long as the guard is there.
    pub(crate) fn everything() -> (tracing::subscriber::DefaultGuard, Lines) {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, filter) = subscriber(None, move || writer.clone());
        filter.handle.reload(EnvFilter::new("trace")).unwrap();
        (tracing::subscriber::set_default(subscriber), lines)
    }

    impl Lines {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn taken(&self) -> Vec<Value> {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            String::from_utf8(bytes)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_says_what_it_is_about_below_whatever_else_is_under_way() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _filter) = subscriber(None, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let pass = tracing::error_span!(
                "reconcile",
                kind = "ScrapeJob",
                namespace = "shop",
                name = "items",
                generation = Some(3_i64)
            );
            let _pass = pass.enter();
            let _other = tracing::error_span!(target: "kube", "request", name = "not this one").entered();
            let error: &(dyn std::error::Error + 'static) = &io::Error::other("broken");
            tracing::warn!(error, failures = 2, quick = true, "failed to reconcile");
            tracing::info!(name = "another", "says it itself");
        });
        let found = lines.taken();
        let line = found[0].as_object().unwrap();
        let expected = serde_json::json!({
            "level": "WARN", "message": "failed to reconcile", "target": module_path!(),
            "kind": "ScrapeJob", "namespace": "shop", "name": "items", "generation": 3,
            "error": "broken", "failures": 2, "quick": true,
        });
        for (key, expected) in expected.as_object().unwrap() {
            assert_eq!(line.get(key), Some(expected), "{key}: {line:?}");
        }
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.parse::<jiff::Timestamp>().is_ok(), "{timestamp}");
        assert_eq!(found[1]["name"], "another");
    }

    #[test]
    fn the_filter_follows_its_file_and_a_wrong_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("filter");
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, mut filter) = subscriber(Some(file.clone()), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let mut debugs = |text: &str| {
                std::fs::write(&file, text).unwrap();
                filter.look();
                lines.taken();
                tracing::debug!("detail");
                tracing::info!("news");
                let said = lines.taken();
                said.iter()
                    .map(|line| line["message"].as_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(debugs("debug\n"), ["detail", "news"]);
            assert_eq!(debugs("naru_operator=such,=="), ["detail", "news"]);
            assert_eq!(debugs("info"), ["news"]);
            assert_eq!(debugs("debgu"), ["news"]);
            assert_eq!(debugs("INFO,naru_operator=debug"), ["detail", "news"]);
            assert_eq!(debugs("hyper=off,naru_operator"), ["detail", "news"]);
            assert_eq!(debugs("info"), ["news"]);
            assert_eq!(debugs("naru_operator=debug,hyper=off"), ["detail", "news"]);
            assert_eq!(debugs(""), ["news"]);
        });
    }
}
