//! Records that take the place of the one before of their key: every total is that of the last values of keys, whatever happens
//! to the workers.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use naru_contract::Reset;
use naru_tests::filtered_sum::check::{Truth, check};
use naru_tests::filtered_sum::feed::Feed;
use naru_tests::filtered_sum::worker::Worker;
use naru_tests::filtered_sum::{INPUT, KEYS, LIMIT};
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::eventually;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::WITHIN;
use crate::world::World;

/// A few, so that most records replace another one.
const FEW: u32 = 300;

fn world(registry: &FragileRegistry) -> World {
    let mut world = World::new(registry, &["region"]);
    world.kafka.create_compacted_topic(KEYS, 3);
    world.config.keys_topic = Some(KEYS.to_owned());
    world.config.computation = 1;
    world
}

fn truth(world: &World, feed: &Feed, limit: i64) -> Truth {
    let input = world.kafka.read_committed(INPUT);
    Truth::keyed(&input, true, |record| feed.fact(record, limit))
}

/// Waits until the totals cover the whole input by the rules with `limit`.
fn caught_up(world: &World, truth: &Truth) {
    let expected = truth.overall(None);
    eventually(
        Duration::from_secs(90),
        "the overall total is that of all",
        || {
            let total = world.total("total");
            let covers = |(partition, end): (&i32, &i64)| {
                let offsets = total.as_ref().and_then(|row| row.offsets.as_ref());
                offsets.and_then(|offsets| offsets.get(partition)) >= Some(end)
            };
            total.as_ref().is_some_and(|row| row.figures == expected) && truth.ends.iter().all(covers)
        },
    );
}

/// What the topic of keys says: the keys that add something, by partition, and whether any were missing at some time.
fn keys(world: &World) -> (BTreeSet<(i32, Vec<u8>)>, bool) {
    let (mut keys, mut was_missing) = (BTreeSet::new(), false);
    let mut marks = BTreeMap::new();
    for record in world.kafka.read_committed(KEYS) {
        let key = record.key.unwrap();
        match (key.strip_prefix(b"k"), record.value) {
            (Some(key), Some(_)) => _ = keys.insert((record.partition, key.to_vec())),
            (Some(key), None) => _ = keys.remove(&(record.partition, key.to_vec())),
            (None, mark) => {
                let mark: serde_json::Value = serde_json::from_slice(&mark.unwrap()).unwrap();
                was_missing |= mark["isMissing"] == true;
                marks.insert(record.partition, mark);
            }
        }
    }
    let committed = world.committed();
    for (partition, mark) in marks {
        assert_eq!(
            mark["nextOffset"].as_i64(),
            committed.get(&partition).copied(),
            "{mark}"
        );
        assert_eq!(mark.get("isMissing"), None, "{mark}");
    }
    (keys, was_missing)
}

fn end(worker: &Worker) {
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));
}

#[test]
fn totals_are_those_of_the_last_values_of_keys_at_every_moment_while_workers_are_killed_and_moved() {
    let registry = FragileRegistry::start();
    let world = world(&registry);
    let given = std::env::var("NARU_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u32>).into();
    println!("NARU_SEED={seed}");
    let (mut feed, mut random) = (world.feed(seed), StdRng::seed_from_u64(seed));
    let mut workers = vec![world.worker("sum-0")];
    let started = Instant::now();
    for round in 0..14 {
        let before = world.written();
        eventually(WITHIN, "the workers commit something", || {
            feed.keyed_batch(FEW, random.random_range(1..150));
            world.written() > before
        });
        let until = Instant::now() + Duration::from_millis(random.random_range(1..700));
        while Instant::now() < until {
            feed.keyed_batch(FEW, random.random_range(1..150));
        }
        let choice = random.random_range(0..workers.len());
        println!(
            "{:.1} s: round {round}, {}",
            started.elapsed().as_secs_f32(),
            workers[choice].name
        );
        match round {
            // One more joins, and partitions move.
            3 => workers.push(world.worker("sum-1")),
            // A pod is replaced in order.
            6 => {
                end(&workers[choice]);
                workers[choice] = world.worker("sum-2");
            }
            // A pod is lost for good.
            9 => {
                workers[choice].process.kill();
                workers[choice] = world.worker("sum-3");
            }
            // A container is killed and comes back.
            _ => {
                workers[choice].process.kill();
                let name = workers[choice].name.clone();
                workers[choice] = world.worker(&name);
            }
        }
    }
    let truth = truth(&world, &feed, LIMIT);
    caught_up(&world, &truth);
    for worker in &workers {
        assert!(worker.process.is_running(), "{} ended by itself", worker.name);
        end(worker);
    }
    let rows = world.rows();
    if let Err(wrong) = check(&truth, &rows, &world.committed()) {
        unreachable!("{wrong:?}");
    }
    world.check_dead_letters(&truth, false);
    let (keys, _) = keys(&world);
    assert_eq!(keys.len(), truth.keys);
    let all = truth.overall(None);
    assert_eq!(all.count - all.retracted, i64::try_from(truth.keys).unwrap());
    println!(
        "{} records, {all:?}, {} keys, {} totals, all right",
        truth.records(),
        truth.keys,
        rows.len()
    );
    assert!(
        all.retracted > 500 && all.dead > 20 && rows.len() > 100,
        "the test has done something"
    );
}

#[test]
fn other_rules_replace_totals_and_keys_also_if_there_are_more_than_go_into_one_transaction() {
    let registry = FragileRegistry::start();
    let mut world = world(&registry);
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    for _ in 0..20 {
        feed.keyed_batch(FEW, 200);
    }
    // More than go with one commit, all of one partition, and under the limit of the rules of before only.
    feed.keyed_prices(0, 70_000, LIMIT);
    let before = truth(&world, &feed, LIMIT);
    caught_up(&world, &before);
    eventually(WITHIN, "the worker tells how many keys there are", || {
        worker.metric("keys") == Some(before.keys as f64)
    });
    end(&worker);
    assert_eq!((keys(&world).0.len(), keys(&world).1), (before.keys, false));

    let lower = LIMIT / 2;
    world.config.filter = Some(format!("price == null || price <= {lower}"));
    world.config.computation = 2;
    world.config.reset = Some(Reset::FromEarliest);
    let worker = world.worker("sum-0");
    let after = truth(&world, &feed, lower);
    caught_up(&world, &after);
    end(&worker);
    let (left, was_missing) = keys(&world);
    assert_eq!(left.len(), after.keys, "those of before are gone");
    assert!(was_missing, "they went with several commits");

    // And what comes then takes back by the new rules.
    feed.keyed_prices(0, 10, 7);
    let worker = world.worker("sum-1");
    caught_up(&world, &truth(&world, &feed, lower));
    feed.keyed_prices(0, 10, LIMIT);
    caught_up(&world, &truth(&world, &feed, lower));
    end(&worker);
}

#[test]
fn a_worker_whose_commits_fail_takes_in_no_more_keys_than_go_with_one_and_goes_on_once_they_do_not() {
    let registry = FragileRegistry::start();
    let world = world(&registry);
    // A mark or some keys fit into it, and those of a full commit do not.
    let compacted = ("cleanup.policy", "compact");
    world
        .kafka
        .alter_topic(KEYS, &[compacted, ("max.message.bytes", "1000")]);
    let mut feed = world.feed(1);
    feed.keyed_prices(0, 30_000, LIMIT);
    feed.keyed_prices(1, 30_000, LIMIT);
    let worker = world.worker("sum-0");
    let metric = |name: &str| worker.metric(name).unwrap_or_default();
    let mut full = None;
    eventually(2 * WITHIN, "some commits of a full worker fail", || {
        if metric("records_total") >= 20_000.0 {
            full.get_or_insert_with(|| metric("aborts_total"));
        }
        full.is_some_and(|full| metric("aborts_total") >= full + 2.0)
    });
    assert_eq!(metric("records_total"), 20_000.0);
    assert!(worker.process.is_running());

    world.kafka.alter_topic(KEYS, &[compacted]);
    let truth = truth(&world, &feed, LIMIT);
    caught_up(&world, &truth);
    end(&worker);
    assert_eq!(keys(&world).0.len(), truth.keys);
}

#[test]
fn a_partition_whose_keys_were_deleted_stops_and_says_so_until_it_is_summed_anew() {
    let registry = FragileRegistry::start();
    let mut world = world(&registry);
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    for price in [5, 6, 7] {
        feed.keyed_prices(0, 2, price);
    }
    caught_up(&world, &truth(&world, &feed, LIMIT));
    end(&worker);
    let total = world.total("total");

    world.kafka.recreate_topic(KEYS, 3);
    feed.keyed_prices(0, 2, 8);
    let worker = world.worker("sum-0");
    // Half a minute is waited for keys that are not there yet.
    eventually(
        Duration::from_secs(90),
        "readiness says what is wrong and what to do",
        || {
            worker.get("/readyz").is_some_and(|(status, body)| {
                status == 503
                    && body.contains("says what each key adds of no record")
                    && body.contains("together with reset: fromEarliest")
            })
        },
    );
    assert_eq!(world.total("total"), total);
    end(&worker);

    world.config.filter = world.config.filter.map(|filter| format!("{filter} "));
    world.config.computation = 2;
    world.config.reset = Some(Reset::FromEarliest);
    let worker = world.worker("sum-0");
    let truth = truth(&world, &feed, LIMIT);
    caught_up(&world, &truth);
    end(&worker);
    assert_eq!(keys(&world).0.len(), truth.keys);
}
