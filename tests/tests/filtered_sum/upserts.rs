//! Totals without transactions: each is right for its offset, and the last ones are complete.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

use std::time::{Duration, Instant};

use naru_contract::Delivery;
use naru_tests::filtered_sum::check::Truth;
use naru_tests::filtered_sum::worker::Worker;
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::eventually;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::world::World;
use crate::{WITHIN, work};

/// Longer than a session, so that the group has given up a member that is silent for this long.
const SILENCE: Duration = Duration::from_secs(12);

/// Kills, stops and moves workers while they sum, each of which delivers in one of these ways. Tells what there is to be
/// checked, and the workers that are left.
fn torment(world: &mut World, deliveries: &[Delivery]) -> Vec<Worker> {
    let given = std::env::var("NARU_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u32>).into();
    println!("NARU_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut feed = world.feed(seed);
    let mut deliveries = deliveries.iter().cycle();
    let mut start = |world: &mut World, name: &str| {
        world.config.delivery = *deliveries.next().unwrap();
        world.worker(name)
    };
    let mut workers = vec![start(world, "sum-0")];
    let mut next = 1;
    let mut new_name = || {
        next += 1;
        format!("sum-{}", next - 1)
    };
    let started = Instant::now();
    let mut kills = 0;
    for round in 0..26 {
        work(world, &mut feed, &mut random);
        let choice = random.random_range(0..workers.len());
        println!(
            "{:.1} s: round {round}, worker {}",
            started.elapsed().as_secs_f32(),
            workers[choice].name
        );
        match round {
            // Two more join, one by one, and partitions move.
            4 | 8 => workers.push(start(world, &new_name())),
            // A pod is replaced in order.
            12 => {
                workers[choice].process.signal("TERM");
                assert_eq!(
                    workers[choice].process.wait(WITHIN),
                    Some(0),
                    "SIGTERM ends in order"
                );
                workers[choice] = start(world, &new_name());
            }
            // One is silent until the others have its partitions, then goes on where it was.
            16 => {
                workers[choice].process.signal("STOP");
                let until = Instant::now() + SILENCE;
                while Instant::now() < until {
                    feed.batch(&[0, 1, 2], random.random_range(1..150));
                }
                workers[choice].process.signal("CONT");
            }
            // A pod is lost for good.
            20 => {
                workers[choice].process.kill();
                workers[choice] = start(world, &new_name());
            }
            // A container is killed and comes back.
            _ => {
                kills += 1;
                workers[choice].process.kill();
                let name = workers[choice].name.clone();
                workers[choice] = start(world, &name);
            }
        }
    }
    println!("{:.1} s: {kills} kills", started.elapsed().as_secs_f32());
    workers
}

fn tell(workers: &[Worker], (truth, rows): &(Truth, usize)) {
    for worker in workers {
        assert!(worker.process.is_running(), "{} ended by itself", worker.name);
    }
    let (records, dead) = (truth.records(), truth.dead.len());
    println!("{records} records, {dead} dead letters, {rows} totals, all right");
    assert!(*rows > 500 && dead > 20, "the test has done something");
}

#[test]
fn upserts_are_right_for_their_offsets_while_workers_are_killed_stopped_and_moved() {
    let mut world = World::with_real_registry(&["region"]);
    let workers = torment(&mut world, &[Delivery::IdempotentUpsert]);
    tell(&workers, &world.check_upserts(Duration::from_secs(90)));
}

#[test]
fn delivery_may_be_changed_in_both_directions_at_any_moment() {
    let mut world = World::with_real_registry(&["region"]);
    let both = [
        Delivery::IdempotentUpsert,
        Delivery::ExactlyOnce,
        Delivery::ExactlyOnce,
        Delivery::IdempotentUpsert,
        Delivery::IdempotentUpsert,
    ];
    let workers = torment(&mut world, &both);
    tell(&workers, &world.check_upserts(Duration::from_secs(90)));
}

#[test]
fn what_somebody_writes_late_who_had_lost_a_partition_is_made_good() {
    let mut world = World::new(&FragileRegistry::start(), &["region"]);
    world.config.delivery = Delivery::IdempotentUpsert;
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    eventually(WITHIN, "all groups have totals", || {
        feed.batch(&[0, 1, 2], 50);
        world.total("total").is_some_and(|row| row.figures.count > 500)
    });
    world.check_upserts(WITHIN);
    worker.process.kill();

    // Before the next owner reads, and after it has.
    world.write_late();
    let worker = world.worker("sum-0");
    eventually(WITHIN, "the worker has read the totals", || worker.is_ready());
    world.check_upserts(WITHIN);
    world.write_late();
    world.check_upserts(Duration::from_secs(60));
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));
}
