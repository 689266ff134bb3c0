//! The filtered-sum worker against the real Kafka and the real registry: what it writes is right at every moment,
//! whatever happens to its processes.

#[path = "filtered_sum/busy.rs"]
mod busy;
#[path = "filtered_sum/numbers.rs"]
mod numbers;
#[path = "filtered_sum/reset.rs"]
mod reset;
#[path = "filtered_sum/retract.rs"]
mod retract;
#[path = "filtered_sum/upserts.rs"]
mod upserts;
#[path = "filtered_sum/windows.rs"]
mod windows;
#[path = "filtered_sum/world.rs"]
mod world;

use std::time::{Duration, Instant};

use naru_contract::{Delivery, OnError};
use naru_tests::filtered_sum::check::Truth;
use naru_tests::filtered_sum::feed::Feed;
use naru_tests::filtered_sum::worker::Worker;
use naru_tests::filtered_sum::{DEAD, GROUP, INPUT};
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::eventually;
use naru_worker_core::kafka::consumer::{Error, Event, GroupConsumer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use world::World;

const WITHIN: Duration = Duration::from_secs(30);

/// Writes until the workers have committed something, then for a random while more.
fn work(world: &World, feed: &mut Feed, random: &mut StdRng) {
    let before = world.written();
    let mut batch = |feed: &mut Feed| feed.batch(&[0, 1, 2], random.random_range(1..150));
    eventually(WITHIN, "the workers commit something", || {
        batch(feed);
        world.written() > before
    });
    let until = Instant::now() + Duration::from_millis(random.random_range(1..700));
    while Instant::now() < until {
        feed.batch(&[0, 1, 2], random.random_range(1..150));
    }
}

#[test]
fn a_partition_stops_at_a_record_that_cannot_be_summed_if_that_is_wanted() {
    let mut world = World::new(&FragileRegistry::start(), &[]);
    world.config.on_error = OnError::Stop;
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    let says = |worker: &Worker, what: &[&str]| {
        worker
            .get("/readyz")
            .is_some_and(|(status, body)| status == 503 && what.iter().all(|what| body.contains(what)))
    };
    let sum = || world.total("total").map(|row| row.figures.sum);
    eventually(WITHIN, "the worker has registered its schema", || {
        worker.is_ready()
    });

    feed.price(0, 5);
    let register = feed.price_ahead_of_its_schema(0, 6, &world.config.registry);
    feed.price(0, 7);
    feed.price(1, 20);
    eventually(
        WITHIN,
        "readiness names the record and what is wrong with it",
        || {
            says(
                &worker,
                &[
                    "the record at offset 2 of partition 0 of topic \"items\" cannot be summed",
                    "schema",
                ],
            )
        },
    );
    eventually(
        WITHIN,
        "what came before and the other partitions are summed",
        || sum() == Some(25),
    );
    // The record before was the only one of its transaction, which ends with a marker.
    assert!((1..=2).contains(&world.committed()[&0]));
    assert_eq!(worker.metric("stopped_partitions"), Some(1.0));

    register();
    eventually(WITHIN, "it goes on once the schema is known", || {
        worker.is_ready()
    });
    world.check(WITHIN);

    feed.without_price(0);
    feed.price(0, 8);
    let stopped = [
        "the record at offset 6 of partition 0",
        "has no field",
        "set onError to deadLetter",
    ];
    eventually(WITHIN, "it stops at the next one", || says(&worker, &stopped));
    worker.process.kill();
    let worker = world.worker("sum-1");
    eventually(WITHIN, "a restart changes nothing", || says(&worker, &stopped));
    assert_eq!(sum(), Some(38));
    assert!((5..=6).contains(&world.committed()[&0]));
    assert_eq!(world.kafka.read_committed(DEAD), vec![]);
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));

    world.config.on_error = OnError::DeadLetter;
    let worker = world.worker("sum-2");
    let (truth, _) = world.check(WITHIN);
    assert_eq!(truth.dead.len(), 1);
    eventually(WITHIN, "the worker is ready", || worker.is_ready());
}

#[test]
fn a_worker_follows_its_input_leaves_in_order_and_does_not_add_to_totals_that_do_not_fit() {
    let world = World::new(&FragileRegistry::start(), &[]);
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    eventually(WITHIN, "the worker is ready", || worker.is_ready());
    eventually(
        WITHIN,
        "every partition has a total, also without records",
        || {
            world
                .total("total")
                .is_some_and(|row| row.offsets == Some([(0, 0), (1, 0), (2, 0)].into()))
        },
    );

    // Partition 0, whose owner writes the overall total, gets nothing.
    for price in [1_000_000, 1_000_001, 3, -4, 5, 6, 7, 8, 9, 10, 11, 12] {
        feed.price(1, price);
        let sum = world.truth().overall(None);
        eventually(WITHIN, "the overall total has the sum", || {
            world.total("total").is_some_and(|row| row.figures == sum)
        });
    }
    let mut delays = world.delays(1);
    println!("the overall total followed after {delays:?} ms");
    delays.sort_unstable();
    assert!(delays[delays.len() / 2] < 500, "{delays:?}");
    for (name, value) in [
        ("records_total", 12.0),
        ("dropped_total", 1.0),
        ("assigned_partitions", 3.0),
    ] {
        assert_eq!(worker.metric(name), Some(value), "{name}");
    }

    eventually(
        WITHIN,
        "there is no lag, although every transaction ends with a marker",
        || world.lag() == 0,
    );

    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));
    assert_eq!(
        world.kafka.members(GROUP),
        Vec::<String>::new(),
        "the group was left"
    );
    let (_, rows) = world.check(WITHIN);

    // A restart by itself changes nothing.
    let worker = world.worker("sum-1");
    eventually(WITHIN, "the worker is ready", || worker.is_ready());
    feed.price(2, 5);
    world.check(WITHIN);
    let after = world.rows().len();
    assert!(
        after <= rows + 2,
        "the total of partition 2 and the overall one, not {}",
        after - rows
    );
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));

    // Somebody sets an offset back: that partition stops, and says what to do.
    let committed = world.committed()[&1];
    world.set_offset(1, 0);
    let worker = world.worker("sum-2");
    let advice = format!("set the group's offset to {committed} to continue");
    eventually(WITHIN, "readiness says what is wrong", || {
        worker.get("/readyz").is_some_and(|(status, body)| {
            status == 503 && body.contains("partition 1") && body.contains(&advice)
        })
    });
    feed.price(1, 7);
    feed.price(2, 8);
    eventually(WITHIN, "the other partitions go on", || {
        world
            .total("partition-2")
            .is_some_and(|row| row.figures.sum == 13)
    });
    let stopped = world.total("partition-1").unwrap();
    assert_eq!(
        (stopped.figures.sum, stopped.next_offset),
        (1_000_067, Some(committed))
    );
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));

    world.set_offset(1, committed);
    let worker = world.worker("sum-3");
    world.check(WITHIN);
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));

    // The offsets expire, of all partitions but one.
    let committed = world.committed();
    world.kafka.forget_group(GROUP);
    world.set_offset(0, committed[&0]);
    feed.price(2, 9);
    let worker = world.worker("sum-4");
    world.check(WITHIN);
    eventually(
        WITHIN,
        "the group has its offsets again, also where nothing came",
        || world.committed().get(&1) >= committed.get(&1) && world.lag() == 0,
    );
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));

    // They are gone because the topic was made anew: its records are others.
    world.kafka.recreate_topic(INPUT, 3);
    let mut feed = world.feed(2);
    feed.price(0, 1);
    let worker = world.worker("sum-5");
    eventually(WITHIN, "readiness says what has happened", || {
        worker
            .get("/readyz")
            .is_some_and(|(status, body)| status == 503 && body.contains("it was made anew"))
    });
}

#[test]
fn a_sum_does_not_take_over_the_totals_of_another() {
    let mut world = World::new(&FragileRegistry::start(), &[]);
    let mut feed = world.feed(1);
    let own = world.config.clone();
    let end = |worker: Worker| {
        worker.process.signal("TERM");
        assert_eq!(worker.process.wait(WITHIN), Some(0));
    };
    let worker = world.worker("sum-0");
    feed.price(0, 5);
    world.check(WITHIN);
    end(worker);
    let (written, committed) = (world.written(), world.committed());

    // Another resource with the same output, without an offset; then one of the same name, with other rules.
    for (group, filter, difference) in [
        (
            "other",
            "price <= 4",
            "consumer group \"sum\", expected \"other\"",
        ),
        (GROUP, "price <= 4", "expected \"price <= 4\""),
    ] {
        world.config.group = group.to_owned();
        world.config.filter = Some(filter.to_owned());
        let worker = world.worker("sum-1");
        eventually(WITHIN, "readiness says whose totals these are", || {
            worker.get("/readyz").is_some_and(|(status, body)| {
                status == 503 && body.contains("are of another sum") && body.contains(difference)
            })
        });
        end(worker);
        assert_eq!((world.written(), world.committed()), (written, committed.clone()));
    }

    world.config = own;
    let worker = world.worker("sum-2");
    feed.price(0, 6);
    world.check(WITHIN);
    end(worker);
}

#[test]
fn totals_of_another_sum_are_in_no_overall_total() {
    let world = World::new(&FragileRegistry::start(), &[]);
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    feed.price(0, 5);
    world.check(WITHIN);
    // As of a resource with the same output, whose input has more partitions.
    world.write_total_of("another");
    eventually(WITHIN, "readiness says that there is another sum", || {
        feed.price(0, 6);
        worker.get("/readyz").is_some_and(|(status, body)| {
            status == 503 && body.contains("there is no overall total: consumer group \"another\"")
        })
    });
    let overall = world.total("total");
    let own = || world.rows().into_iter().rfind(|row| row.at.0 == 0);
    let before = own().unwrap().figures.sum;
    feed.price(0, 6);
    eventually(WITHIN, "the partition's own total goes on", || {
        own().unwrap().figures.sum > before
    });
    assert_eq!(world.total("total"), overall);
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));
}

#[test]
fn partitions_that_come_back_are_read_anew() {
    let world = World::with_real_registry(&[]);
    let mut feed = world.feed(1);
    let mut random = StdRng::seed_from_u64(1);
    let first = world.worker("sum-0");
    for round in 1..=3 {
        work(&world, &mut feed, &mut random);
        let second = world.worker(&format!("sum-{round}"));
        eventually(WITHIN, "the second worker has partitions", || {
            feed.batch(&[0, 1, 2], 50);
            second.metric("assigned_partitions") >= Some(1.0)
        });
        work(&world, &mut feed, &mut random);
        second.process.signal("TERM");
        assert_eq!(second.process.wait(WITHIN), Some(0));
        eventually(WITHIN, "the first worker has all partitions again", || {
            first.metric("assigned_partitions") == Some(3.0)
        });
    }
    world.check(WITHIN);
    assert!(first.process.is_running());
}

#[test]
fn an_outage_of_kafka_only_delays_the_sum() {
    outages(Delivery::ExactlyOnce, World::check);
}

#[test]
fn an_outage_of_kafka_only_delays_upserts() {
    outages(Delivery::IdempotentUpsert, World::check_upserts);
}

fn outages(delivery: Delivery, check: fn(&World, Duration) -> (Truth, usize)) {
    let mut world = World::new(&FragileRegistry::start(), &["region"]);
    world.config.delivery = delivery;
    let workers = ["sum-0", "sum-1"].map(|name| world.worker(name));
    for seed in 1..=3 {
        let mut feed = world.feed(seed);
        let before = world.written();
        eventually(WITHIN, "the workers commit something", || {
            feed.batch(&[0, 1, 2], 50);
            world.written() > before
        });
        drop(feed);
        world.kafka.kill_and_restart();
    }
    world.feed(4).batch(&[0, 1, 2], 50);
    check(&world, Duration::from_secs(120));
    assert!(workers.iter().all(|worker| worker.process.is_running()));
}

#[test]
fn a_worker_whose_place_was_taken_starts_over_in_the_same_process() {
    let world = World::new(&FragileRegistry::start(), &[]);
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    feed.price(0, 5);
    world.check(WITHIN);
    let group = GroupConsumer::join(&world.config.kafka, GROUP, "sum-0", INPUT).unwrap();
    eventually(WITHIN, "the twin has the partitions", || {
        matches!(group.poll(Duration::from_millis(50)), Ok(Event::Assigned(_)))
    });
    // The worker takes its place back.
    eventually(WITHIN, "the twin is replaced in turn", || {
        matches!(group.poll(Duration::from_millis(50)), Err(Error::Replaced { .. }))
    });
    feed.price(0, 6);
    world.check(WITHIN);
    assert!(worker.process.is_running());
}

#[test]
fn a_registry_that_does_not_answer_stalls_the_sum_and_makes_no_dead_letter() {
    let registry = FragileRegistry::start();
    let world = World::new(&registry, &[]);
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    feed.price(0, 5);
    eventually(WITHIN, "the worker sums", || {
        world.total("total").is_some_and(|row| row.figures.sum == 5)
    });

    registry.set_down(true);
    feed.price(0, 6);
    feed.without_price(0);
    feed.price(0, 7);
    feed.price(1, 20);
    let says = |what: &str| {
        worker
            .get("/readyz")
            .is_some_and(|(status, body)| status == 503 && body.contains(what))
    };
    eventually(WITHIN, "readiness names the schema", || {
        says("the registry to answer what schema")
    });
    let sum = || world.total("total").map(|row| row.figures.sum);
    eventually(
        WITHIN,
        "what came before and the other partitions are summed",
        || sum() == Some(31),
    );
    eventually(WITHIN, "readiness says why", || {
        says("for partition 0: unable to reach the schema registry")
    });
    assert_eq!((sum(), world.kafka.read_committed(DEAD)), (Some(31), vec![]));

    registry.set_down(false);
    let (truth, _) = world.check(Duration::from_secs(60));
    assert_eq!(truth.dead.len(), 1);
    eventually(WITHIN, "the worker is ready again", || worker.is_ready());
}
