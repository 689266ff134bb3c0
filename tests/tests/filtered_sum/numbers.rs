//! Sums with digits behind the point: of decimals, and of doubles that are rounded.

#![allow(clippy::unwrap_used, reason = "a module of tests")]

use std::time::Duration;

use apache_avro::Schema;
use naru_contract::Reset;
use naru_tests::filtered_sum::{LIMIT, OUTPUT};
use naru_tests::fragile_registry::FragileRegistry;
use naru_tests::loopback::eventually;
use naru_worker_core::avro::{registry, wire};

use crate::WITHIN;
use crate::world::World;

/// How many digits the schema of the totals has behind the point, by what the registry says.
fn scale_of_totals(world: &World) -> usize {
    let record = world.kafka.read_committed(OUTPUT).pop().unwrap();
    let (id, _) = wire::decode(record.value.as_deref().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let schema = runtime.block_on(async {
        let registry = registry::Registry::new(&world.config.registry).unwrap();
        registry.schema(id).await.unwrap()
    });
    let Schema::Record(total) = &*schema else {
        unreachable!("{schema:?}")
    };
    match &total.fields[total.lookup["sum"]].schema {
        Schema::Decimal(decimal) => decimal.scale,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn decimals_are_summed_and_filtered_to_the_cent_whatever_happens_to_the_worker() {
    let mut world = World::new(&FragileRegistry::start(), &["region"]);
    world.config.scale = 2;
    let mut feed = world.feed(1);
    let (limit, mut dead) = (100 * LIMIT, 0);
    let mut worker = world.worker("sum-0");
    for round in 0..3 {
        for partition in 0..3 {
            for cents in [limit - 1, limit, limit + 1, -1, i64::MAX] {
                feed.cents(partition, cents, false);
            }
            for cents in [limit - 1, limit, limit + 1, i64::MIN] {
                feed.cents(partition, cents, true);
            }
            feed.less_than_a_cent(partition, 1);
            feed.less_than_a_cent(partition, limit * 100 - 1);
            dead += 2;
        }
        // In the middle of it, most probably.
        worker.process.kill();
        worker = world.worker(&format!("sum-{}", round + 1));
    }
    let (truth, _) = world.check(Duration::from_secs(60));
    assert_eq!(truth.dead.len(), dead);
    let kept = 2 * i128::from(2 * limit - 1) - 1 + i128::from(i64::MIN);
    assert_eq!(world.total("total").unwrap().figures.sum, 9 * kept);
    assert_eq!(scale_of_totals(&world), 2);

    // Doubles, which are summed from now on.
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));
    world.config.round_floats = true;
    world.config.reset = Some(Reset::Continue);
    world.config.computation = 2;
    let worker = world.worker("rounds");
    for (price, cents) in [
        (0.1, 10),
        (0.2, 20),
        (1.005, 100),
        (1.015, 102),
        (-999.995, -100_000),
    ] {
        feed.double(0, price, cents);
    }
    let rounded = 9 * kept + 10 + 20 + 100 + 102 - 100_000;
    eventually(WITHIN, "they are in the sum", || {
        world.total("total").is_some_and(|row| row.figures.sum == rounded)
    });
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));

    // Another scale is another sum, in which all find room that found none. The totals say where their point is.
    world.config.scale = 4;
    world.config.reset = Some(Reset::FromEarliest);
    world.config.computation = 3;
    let worker = world.worker("anew");
    let sum = 9 * (100 * kept + i128::from(100 * limit)) + 1_000 + 2_000 + 10_050 + 10_150 - 9_999_950;
    eventually(WITHIN, "everything is summed anew", || {
        world
            .total("total")
            .is_some_and(|row| (row.figures.sum, row.figures.dead) == (sum, 0))
    });
    assert_eq!(scale_of_totals(&world), 4);
    worker.process.signal("TERM");
    assert_eq!(worker.process.wait(WITHIN), Some(0));
}
