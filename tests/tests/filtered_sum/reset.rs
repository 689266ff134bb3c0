//! Rules that change: every total is right by the rules that it names, and those of earlier rules stay until those of
//! the later ones have caught up.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use apache_avro::Schema;
use naru_contract::{Delivery, Reset};
use naru_tests::filtered_sum::check::{Fact, Figures, Row, TOTAL, Truth};
use naru_tests::filtered_sum::feed::Feed;
use naru_tests::filtered_sum::worker::Worker;
use naru_tests::filtered_sum::{INPUT, LIMIT, OUTPUT};
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::{Consumed, eventually};
use naru_worker_core::kafka::topic;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::message::{Headers, Message};

use crate::world::World;
use crate::{WITHIN, work};

/// In the place of a filter: totals that several had a part in.
const MIXED: &str = "mixed";
/// The limit of other rules.
const LOWER: i64 = LIMIT / 2;
const PARTITIONS: [i32; 3] = [0, 1, 2];

fn filter(limit: i64) -> String {
    format!("price == null || price <= {limit}")
}

/// What the rules with this limit make of a record.
fn under(limit: i64, fact: Fact) -> Fact {
    match fact {
        Fact::Sum { value, .. } if value > limit => Fact::Drop,
        fact => fact,
    }
}

/// A record of the output topic, and the sum that it names.
struct Written {
    row: Option<Row>,
    key: String,
    partition: i32,
    /// Filter, number, and whether other rules had a part in it.
    names: Option<(String, i64, bool)>,
}

fn written(world: &World) -> Vec<Written> {
    let schema = Schema::parse_str(TOTAL).unwrap();
    let mut written = Vec::new();
    let within = Duration::from_secs(60);
    topic::read_to_end(&world.kafka.contract(), OUTPUT, within, |message| {
        let record = Consumed {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
        };
        let mut headers = message.headers().into_iter().flat_map(Headers::iter);
        let names = headers.find(|header| header.key == "sum").map(|header| {
            let text = std::str::from_utf8(header.value.unwrap()).unwrap();
            let sum: serde_json::Value = serde_json::from_str(text.strip_prefix("v1 ").unwrap()).unwrap();
            let number = sum["computation"].as_i64().unwrap_or_default();
            let mixed = sum["mixed"].as_bool().unwrap_or_default();
            (sum["filter"].as_str().unwrap().to_owned(), number, mixed)
        });
        written.push((
            record.offset,
            Written {
                key: String::from_utf8(record.key.clone().unwrap()).unwrap(),
                partition: record.partition,
                row: record.value.is_some().then(|| Row::read(&schema, &record)),
                names,
            },
        ));
    })
    .unwrap();
    written.sort_by_key(|(offset, written)| (written.partition, *offset));
    written.into_iter().map(|(_, written)| written).collect()
}

/// What is known of a partition, or of all of them, while its records are gone through.
#[derive(Default)]
struct Seen {
    /// Number and offset of the newest total.
    newest: Option<(i64, i64)>,
    /// Filters in the order in which totals named them, and up to where those of the one before went.
    filters: Vec<(String, i64)>,
    /// Groups whose newest record has a value.
    groups: BTreeSet<String>,
    /// Records of groups that precede the total that says what sum they are of.
    pending: Vec<Row>,
}

/// Checks every total that was ever visible, by filter, and returns what has been seen by id of the whole (`total`,
/// `partition-0`, ...).
fn check(truths: &BTreeMap<String, Truth>, written: Vec<Written>) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::<String, Seen>::new();
    for Written {
        row,
        key,
        partition,
        names,
    } in written
    {
        let (whole, group) = match key.split_once('/') {
            Some((whole, group)) => (whole.to_owned(), Some(group.to_owned())),
            None => (key.clone(), None),
        };
        let seen = seen.entry(whole.clone()).or_default();
        let Some(row) = row else {
            assert!(seen.groups.remove(&group.unwrap()), "{key} was no total");
            continue;
        };
        assert_eq!((&row.id, row.at.0), (&key, partition));
        if let Some(group) = group {
            seen.groups.insert(group);
            seen.pending.push(row);
            continue;
        }
        let (filter, number, mixed) = names.unwrap();
        let truth = if mixed { &truths[MIXED] } else { &truths[&filter] };
        let end: i64 = match (&row.offsets, row.next_offset) {
            (Some(offsets), None) => offsets.values().sum(),
            (None, Some(next_offset)) => next_offset,
            _ => unreachable!("{row:?}"),
        };
        let (newest, covered) = seen.newest.unwrap_or((0, 0));
        assert!(
            number >= newest && end >= covered,
            "after {newest} up to {covered} comes {number}: {row:?}"
        );
        if seen.filters.last().is_none_or(|(last, _)| *last != filter) {
            seen.filters.push((filter, covered));
        }
        seen.newest = Some((number, end));
        for row in std::mem::take(&mut seen.pending).into_iter().chain([row]) {
            let offsets = match (&row.offsets, row.partition) {
                (Some(offsets), None) => offsets.clone(),
                (None, Some(partition)) => BTreeMap::from([(partition, row.next_offset.unwrap())]),
                _ => unreachable!("{row:?}"),
            };
            let parts = offsets
                .iter()
                .map(|(partition, end)| truth.prefix(*partition, row.grouping.as_deref(), *end));
            let expected = parts.fold(Figures::default(), Figures::plus);
            assert_eq!(row.figures, expected, "{row:?} by {:?}", seen.filters.last());
        }
    }
    seen
}

/// The input by the rules with each of `limits`.
fn truths(world: &World, limits: &[i64]) -> BTreeMap<String, Truth> {
    let input = world.kafka.read_committed(INPUT);
    let by = |limit: i64| Truth::by(&input, true, |_, fact| under(limit, fact));
    limits.iter().map(|limit| (filter(*limit), by(*limit))).collect()
}

/// Waits until all totals are of the rules with `limit` and cover the whole input, and checks everything.
fn settled(world: &World, limits: &[i64], limit: i64) -> BTreeMap<String, Seen> {
    let truths = truths(world, limits);
    let truth = &truths[&filter(limit)];
    eventually(
        Duration::from_secs(120),
        "the overall total has the sum of all by the new rules",
        || {
            let is_whole = |row: &Row| {
                let offsets = row.offsets.as_ref().unwrap();
                truth
                    .ends
                    .iter()
                    .all(|(partition, end)| offsets.get(partition) >= Some(end))
            };
            let total = written(world).into_iter().rfind(|written| written.key == "total");
            let of = |written: &Written| written.names.as_ref().unwrap().0 == filter(limit);
            total.is_some_and(|total| of(&total) && is_whole(total.row.as_ref().unwrap()))
        },
    );
    let seen = check(&truths, written(world));
    let committed = world.committed();
    for (whole, seen) in &seen {
        assert_eq!(seen.filters.last().unwrap().0, filter(limit), "{whole}");
        let expected = match whole.strip_prefix("partition-") {
            Some(partition) => {
                let partition = partition.parse().unwrap();
                assert_eq!(seen.newest.unwrap().1, committed[&partition]);
                let groups = truth.groups.iter();
                let is_in = |group: &&String| truth.prefix(partition, Some(group), i64::MAX).count > 0;
                groups.filter(is_in).cloned().collect()
            }
            None => truth.groups.clone(),
        };
        assert_eq!(seen.groups, expected, "the groups of {whole} that are left");
    }
    world.check_dead_letters(truth, false);
    seen
}

fn end(worker: &Worker) {
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));
}

impl World {
    /// As the operator hands down an edit.
    fn change(&mut self, limit: i64, reset: Option<Reset>) {
        self.config.filter = Some(filter(limit));
        self.config.reset = reset;
        self.config.computation += 1;
    }
}

/// A world whose worker has summed records in three partitions, each with a group that is in no sum by lower limits.
fn summed(registry: &FragileRegistry) -> (World, Feed) {
    let mut world = World::new(registry, &["region"]);
    world.config.computation = 1;
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    for partition in PARTITIONS {
        feed.price_in("Ulsan", partition, LIMIT - 1);
        // Some of them are aborted.
        for _ in 0..10 {
            feed.batch(&[partition], 200);
        }
    }
    settled(&world, &[LIMIT], LIMIT);
    end(&worker);
    (world, feed)
}

#[test]
fn totals_of_earlier_rules_stay_until_the_input_is_summed_anew_and_are_replaced_at_once() {
    let registry = FragileRegistry::start();
    let (mut world, mut feed) = summed(&registry);
    let (before, committed) = (world.written(), world.committed());
    let earlier = world.config.clone();
    world.change(LOWER, Some(Reset::FromEarliest));

    // A record in the middle of each partition cannot be read yet. Whatever happens by then, nothing is written.
    registry.keep_back(Some("double"));
    for kill in 0..3 {
        let worker = world.worker("sum-0");
        eventually(WITHIN, "all partitions are summed anew and are half way", || {
            let all: i64 = committed.values().sum();
            let left = worker.metric("catching_up_offsets");
            worker.metric("catching_up_partitions") == Some(3.0)
                && left.is_some_and(|left| left > 0.0 && left < all as f64)
        });
        feed.price(0, 7);
        if kill == 1 {
            worker.process.kill();
        } else {
            end(&worker);
        }
        assert_eq!((world.written(), world.committed()), (before, committed.clone()));
    }

    // Readiness tells of it, and the progress is there to see.
    let worker = world.worker("sum-0");
    registry.keep_back(None);
    let seen = settled(&world, &[LIMIT, LOWER], LOWER);
    assert!(worker.is_ready());
    assert_eq!(worker.metric("catching_up_partitions"), Some(0.0));
    for partition in PARTITIONS {
        let filters = &seen[&format!("partition-{partition}")].filters;
        assert_eq!(filters.len(), 2, "{filters:?}");
        assert_eq!(filters[1].1, committed[&partition]);
        assert!(!seen[&format!("partition-{partition}")].groups.contains("Ulsan"));
    }
    end(&worker);

    // A worker of before does not take back what it would have liked to be its own.
    let later = std::mem::replace(&mut world.config, earlier);
    world.config.reset = Some(Reset::FromEarliest);
    let lingering = world.worker("sum-1");
    feed.price(1, 8);
    eventually(WITHIN, "readiness says that it is late", || {
        lingering.get("/readyz").is_some_and(|(status, body)| {
            status == 503 && body.contains("they are of a later spec than this worker is of")
        })
    });
    end(&lingering);
    world.config = later;

    // A restart goes on where it was.
    let worker = world.worker("sum-0");
    feed.price(2, 9);
    settled(&world, &[LIMIT, LOWER], LOWER);
    end(&worker);
}

#[test]
fn totals_of_earlier_rules_are_gone_on_with_by_new_ones_where_the_resource_says_so() {
    let (mut world, mut feed) = summed(&FragileRegistry::start());
    let (before, committed) = (world.written(), world.committed());
    let says = |world: &World, what: &str| {
        let worker = world.worker("sum-0");
        eventually(WITHIN, "readiness says what to do", || {
            worker
                .get("/readyz")
                .is_some_and(|(status, body)| status == 503 && body.contains(what))
        });
        end(&worker);
        assert_eq!((world.written(), world.committed()), (before, committed.clone()));
    };
    // Nobody has said anything; then that groups are to be gone on with which are others.
    world.change(LOWER, None);
    says(&world, "set reset to fromEarliest to sum the input anew");
    world.config.reset = Some(Reset::Continue);
    let group_by = std::mem::take(&mut world.config.group_by);
    says(&world, "cannot be gone on with by other groups");
    world.config.group_by = group_by;

    let worker = world.worker("sum-0");
    feed.batch(&PARTITIONS, 1_000);
    feed.price(0, 3);
    let input = world.kafka.read_committed(INPUT);
    let mixed = Truth::by(&input, true, |record, fact| {
        let is_new = record.offset >= committed[&record.partition];
        under(if is_new { LOWER } else { LIMIT }, fact)
    });
    eventually(WITHIN, "the overall total is that of both rules", || {
        world
            .total("total")
            .is_some_and(|row| row.figures == mixed.overall(None))
    });
    let whole = truths(&world, &[LIMIT]).remove(&filter(LIMIT)).unwrap();
    world.check_dead_letters(&mixed, false);
    let mut by = BTreeMap::from([(filter(LIMIT), whole), (MIXED.to_owned(), mixed)]);
    let seen = check(&by, written(&world));
    assert!(
        seen.values()
            .all(|seen| seen.filters.len() == 2 && seen.groups.contains("Ulsan"))
    );
    end(&worker);

    // All records by the same rules, after all.
    world.change(LOWER, Some(Reset::FromEarliest));
    let worker = world.worker("sum-0");
    let pure = truths(&world, &[LOWER]).remove(&filter(LOWER)).unwrap();
    eventually(WITHIN, "the overall total is that of the rules of now", || {
        let total = world.total("total");
        total.is_some_and(|row| row.figures == pure.overall(None))
    });
    by.insert(filter(LOWER), pure);
    let seen = check(&by, written(&world));
    assert!(seen.values().all(|seen| !seen.groups.contains("Ulsan")));
    end(&worker);
}

#[test]
fn rules_may_change_back_and_forth_while_workers_of_all_of_them_are_killed() {
    let given = std::env::var("NARU_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u32>).into();
    println!("NARU_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut world, mut feed) = summed(&FragileRegistry::start());
    for _ in 0..10 {
        feed.batch(&PARTITIONS, 20_000);
    }
    let started = Instant::now();
    let mut workers = [0, 1].map(|index| world.worker(&format!("sum-{index}")));
    settled(&world, &[LIMIT], LIMIT);
    let limits = [LIMIT, LOWER];
    let (mut kills, mut in_the_middle) = (0, 0);
    for (round, limit) in [LOWER, LIMIT, LOWER, LIMIT].into_iter().enumerate() {
        let earlier = world.config.clone();
        world.change(limit, Some(Reset::FromEarliest));
        for kill in 0..6 {
            let index = random.random_range(0..workers.len());
            let until = Instant::now() + Duration::from_millis(random.random_range(1..2_500));
            while Instant::now() < until {
                feed.batch(&PARTITIONS, random.random_range(1..150));
                if workers[index].metric("catching_up_partitions") > Some(0.0) && random.random_ratio(1, 3) {
                    in_the_middle += 1;
                    break;
                }
            }
            workers[index].process.kill();
            kills += 1;
            // As a ReplicaSet of before does until it is scaled down.
            let later = world.config.clone();
            if kill < 4 && random.random_ratio(1, 3) {
                world.config = earlier.clone();
            }
            let name = workers[index].name.clone();
            workers[index] = world.worker(&name);
            world.config = later;
        }
        for worker in &mut workers {
            worker.process.kill();
            *worker = world.worker(&worker.name);
        }
        work(&world, &mut feed, &mut random);
        settled(&world, &limits, limit);
        println!(
            "{:.1} s: round {round}, {kills} kills, {in_the_middle} in the middle of catching up",
            started.elapsed().as_secs_f32()
        );
    }
    let seen = settled(&world, &limits, LIMIT);
    for (whole, seen) in seen {
        println!("{whole}: {} computations", seen.filters.len());
    }
    assert!(workers.iter().all(|worker| worker.process.is_running()));
}

#[test]
fn totals_that_were_written_without_transactions_are_replaced_in_one() {
    let mut world = World::new(&FragileRegistry::start(), &["region"]);
    world.change(LIMIT, None);
    world.config.delivery = Delivery::IdempotentUpsert;
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    for _ in 0..5 {
        feed.batch(&PARTITIONS, 200);
    }
    world.check_upserts(WITHIN);
    worker.process.kill();

    feed.batch(&PARTITIONS, 200);
    world.config.delivery = Delivery::ExactlyOnce;
    world.change(LOWER, Some(Reset::FromEarliest));
    let worker = world.worker("sum-1");
    let seen = settled(&world, &[LIMIT, LOWER], LOWER);
    for (whole, seen) in &seen {
        let filters = seen.filters.iter().map(|(filter, _)| filter.clone());
        assert_eq!(
            filters.collect::<Vec<_>>(),
            [filter(LIMIT), filter(LOWER)],
            "{whole}"
        );
    }
    end(&worker);
}
