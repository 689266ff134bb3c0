//! A site, Kafka, a registry, and the processes of one scrape job.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests that cannot go on ends the test"
)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use apache_avro::from_value;
use apache_avro::reader::datum::GenericDatumReader;
use naru_contract::{Frontier, Head, Output, Politeness, Retry, ScrapeWorker, Source, Start};
use naru_site::{Catalog, Config, Plan};
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::{Kafka, Process, Registry, answers_ok, eventually, free_port};
use naru_worker_core::avro::wire;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const ITEMS: &str = "items";
pub(crate) const DEAD: &str = "items.dead";
pub(crate) const FRONTIER: &str = "frontier";
pub(crate) const HEAD: &str = "frontier.head";
pub(crate) const GROUP: &str = "job";
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// A record of the output topic.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    pub(crate) product_seq: i64,
    pub(crate) title: String,
    pub(crate) price: i64,
    pub(crate) description: Option<String>,
    pub(crate) category: Option<Vec<Option<String>>>,
}

/// The replica of a marketplace, within this process.
pub(crate) struct Site {
    port: u16,
    config: Config,
    runtime: Runtime,
    client: reqwest::Client,
}

impl Site {
    pub(crate) fn start(config: Config) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(naru_site::serve(listener, config, std::future::pending()));
        Self {
            port,
            config,
            runtime,
            client: reqwest::Client::new(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// `count` more ids.
    pub(crate) fn release(&self, count: u64) {
        self.send(self.client.post(self.url(&format!("/release?count={count}"))));
    }

    pub(crate) fn break_down(&self, plan: Value) {
        let plan: Plan = serde_json::from_value(plan).unwrap();
        self.send(
            self.client
                .post(self.url("/faults"))
                .body(serde_json::to_string(&plan).unwrap()),
        );
    }

    pub(crate) fn summary(&self) -> Value {
        serde_json::from_str(&self.send(self.client.get(self.url("/log/summary")))).unwrap()
    }

    /// Requests that have ended, in the order of their arrival: ms since the start, path and status.
    pub(crate) fn log(&self) -> Vec<(u64, String, Option<u64>)> {
        let log: Value = serde_json::from_str(&self.send(self.client.get(self.url("/log")))).unwrap();
        let requests = log["requests"].as_array().unwrap().iter();
        let mut requests = requests
            .map(|request| {
                let path = request["path"].as_str().unwrap().to_owned();
                (
                    request["millis"].as_u64().unwrap(),
                    path,
                    request["status"].as_u64(),
                )
            })
            .collect::<Vec<_>>();
        requests.sort();
        requests
    }

    /// The newest product.
    pub(crate) fn head(&self) -> u64 {
        let truth: Value = serde_json::from_str(&self.send(self.client.get(self.url("/truth")))).unwrap();
        truth["head"].as_u64().unwrap()
    }

    /// All products up to the newest, by id.
    pub(crate) fn truth(&self) -> BTreeMap<i64, Item> {
        let products = self.products(self.config.first_id..=self.head());
        products.map(|product| (product.product_seq, product)).collect()
    }

    fn products(&self, ids: RangeInclusive<u64>) -> impl Iterator<Item = Item> {
        let catalog = Catalog::new(self.config.seed);
        catalog
            .products(ids)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|product| {
                let mut category = product.category.into_iter().map(Some).collect::<Vec<_>>();
                category.resize(4, None);
                Item {
                    product_seq: product.id.try_into().unwrap(),
                    title: product.title,
                    price: product.price,
                    description: Some(product.description.trim().to_owned()),
                    category: Some(category),
                }
            })
    }

    pub(crate) fn put_json(&self, url: &str, body: &Value) {
        let request = self.client.put(url).header("content-type", "application/json");
        self.send(request.body(body.to_string()));
    }

    fn send(&self, request: reqwest::RequestBuilder) -> String {
        self.runtime.block_on(async {
            request
                .send()
                .await
                .unwrap()
                .error_for_status()
                .unwrap()
                .text()
                .await
                .unwrap()
        })
    }
}

pub(crate) struct World {
    pub(crate) kafka: Kafka,
    _registry: Option<Registry>,
    pub(crate) site: Site,
    pub(crate) config: ScrapeWorker,
    folder: TempDir,
}

impl World {
    /// Topics are made and nothing runs. With a registry of our own, which starts at once.
    pub(crate) fn new(site: Config, partitions: i32) -> Self {
        Self::with(
            Kafka::start(),
            FragileRegistry::start().contract(),
            site,
            partitions,
        )
    }

    pub(crate) fn with_real_registry(site: Config, partitions: i32) -> Self {
        let kafka = Kafka::start();
        let registry = Registry::start(&kafka);
        let contract = registry.contract();
        Self {
            _registry: Some(registry),
            ..Self::with(kafka, contract, site, partitions)
        }
    }

    fn with(kafka: Kafka, registry: naru_contract::Registry, site: Config, partitions: i32) -> Self {
        kafka.create_topic(FRONTIER, partitions);
        kafka.create_compacted_topic(HEAD, 1);
        kafka.create_topic(ITEMS, 3);
        kafka.create_topic(DEAD, 1);
        let site = Site::start(site);
        let config = config(&kafka, registry, &site);
        Self {
            kafka,
            _registry: None,
            site,
            config,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn planner(&self) -> Worker {
        Worker::start(self, "plan", "planner")
    }

    pub(crate) fn fetcher(&self, name: &str) -> Worker {
        Worker::start(self, "fetch", name)
    }

    /// Everything that a `read_committed` reader sees of the products.
    pub(crate) fn items(&self) -> Vec<Item> {
        let schema = apache_avro::Schema::parse_str(&self.schema()).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let records = self.kafka.read_committed(ITEMS).into_iter();
        let items = records.map(|record| {
            let value = record.value.unwrap();
            let (_, mut datum) = wire::decode(&value).unwrap();
            let item: Item = from_value(&reader.read_value(&mut datum).unwrap()).unwrap();
            assert_eq!(record.key.unwrap(), item.product_seq.to_string().into_bytes());
            item
        });
        items.collect()
    }

    /// Ranges that were planned, by their first id.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges = self
            .kafka
            .read_committed(FRONTIER)
            .into_iter()
            .map(|record| {
                let range: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
                (range["from"].as_u64().unwrap(), range["to"].as_u64().unwrap())
            })
            .collect::<Vec<_>>();
        ranges.sort_unstable();
        ranges
    }

    /// Asserts that every id from the first to the newest is in exactly one range.
    pub(crate) fn assert_every_id_is_planned_once(&self) {
        let mut next = self.site.config.first_id;
        for (from, to) in self.ranges() {
            assert_eq!(from, next, "a range begins where the one before ended");
            next = to + 1;
        }
        assert_eq!(next, self.site.head() + 1);
    }

    fn schema(&self) -> String {
        let schema = naru_rules::extract::RecordSchema::new(ITEMS, &self.config.fields).unwrap();
        schema.json().to_owned()
    }
}

/// A planner or a fetcher.
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) name: String,
    port: u16,
    _config: tempfile::TempPath,
}

impl Worker {
    fn start(world: &World, role: &str, name: &str) -> Self {
        let mut config = tempfile::NamedTempFile::new_in(world.folder.path()).unwrap();
        serde_json::to_writer(&mut config, &world.config).unwrap();
        let (port, config) = (free_port(), config.into_temp_path());
        let listen = format!("127.0.0.1:{port}");
        let path = config.to_str().unwrap();
        let arguments = [role, "--config", path, "--instance", name, "--listen", &listen];
        let process = Process::worker("naru-scrape", &arguments);
        Self {
            process,
            name: name.to_owned(),
            port,
            _config: config,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        answers_ok(self.port, "/readyz")
    }

    pub(crate) fn wait_until_ready(&self) {
        eventually(WITHIN, "the worker is ready", || {
            assert!(self.process.is_running(), "{} ended", self.name);
            self.is_ready()
        });
    }

    /// SIGTERM, and all that a worker does at its end.
    pub(crate) fn stop(self) {
        self.process.signal("TERM");
        assert_eq!(self.process.wait(WITHIN), Some(0), "{}", self.process.errors());
    }

    /// Empty until it listens.
    pub(crate) fn ask_when_up(&self, site: &Site, path: &str) -> String {
        if answers(self.port) {
            self.ask(site, path)
        } else {
            String::new()
        }
    }

    pub(crate) fn ask(&self, site: &Site, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        site.runtime
            .block_on(async { site.client.get(url).send().await.unwrap().text().await.unwrap() })
    }
}

fn answers(port: u16) -> bool {
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn config(kafka: &Kafka, registry: naru_contract::Registry, site: &Site) -> ScrapeWorker {
    ScrapeWorker {
        job: "test/job".to_owned(),
        kafka: kafka.contract(),
        registry,
        source: Source {
            url_template: site.url("/product/{id}"),
            start: Start::Id(site.config.first_id),
            head: Head {
                url: site.url("/sitemap-recent-product-index.xml.gz"),
                pattern: r"/product/(\d+)".to_owned(),
                every_ms: 300,
            },
        },
        frontier: Frontier {
            topic: FRONTIER.to_owned(),
            head_topic: HEAD.to_owned(),
            group: GROUP.to_owned(),
            range_size: 20,
        },
        politeness: Politeness {
            max_requests_per_second: 300.0,
            max_concurrent: 16,
            respect_robots: true,
            user_agent: "naru/0.1 (tests)".to_owned(),
            request_timeout_ms: 5_000,
        },
        retry: Retry {
            fixed_times: 3,
            fixed_delay_ms: 50,
            exponential_times: 4,
            exponential_base_ms: 100,
            exponential_max_ms: 1_000,
        },
        fields: serde_json::from_value(fields()).unwrap(),
        output: Output {
            topic: ITEMS.to_owned(),
            key: "productSeq".to_owned(),
            dead_letter_topic: DEAD.to_owned(),
        },
    }
}

fn fields() -> Value {
    let split = json!([{"split": ","}, {"padTo": 4}]);
    json!([
        {"name": "productSeq", "type": "long", "required": true,
         "from": [{"json": "$..product.productSeq"}, {"url": "/product/(\\d+)"}]},
        {"name": "title", "type": "string", "required": true,
         "from": [{"json": "$..product.productTitle"}, {"css": "main h1"}]},
        {"name": "price", "type": "long", "required": true,
         "from": [{"json": "$..product.productPrice"}, {"css": "main .price", "transform": [{"keep": "digits"}]}]},
        {"name": "description", "type": "string",
         "from": [{"json": "$..product.productDescription"}, {"css": "main .description"}]},
        {"name": "category", "type": "array<string>",
         "from": [{"json": "$..product.categoryName", "transform": split},
                  {"css": "main .breadcrumb", "transform": split}]}
    ])
}
