//! The scraping workers against the real Kafka, the real registry and a replica of a site: every product is written
//! exactly once, whatever happens to the processes and to the site's answers.

#[path = "scrape/wishes.rs"]
mod wishes;
#[path = "scrape/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use naru_contract::Start;
use naru_site::Config;
use naru_tests::loopback::eventually;
use naru_worker_core::kafka::consumer::{Error, Event, GroupConsumer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use world::{DEAD, FRONTIER, GROUP, Item, WITHIN, Worker, World};

fn site(initial: u64) -> Config {
    Config {
        initial,
        ..Config::default()
    }
}

/// Waits until all products are there, and asserts that each is there once and as on the site.
fn assert_all_products_once(world: &World, within: Duration) {
    let truth = world.site.truth();
    let mut items = Vec::new();
    eventually(within, "every product is written", || {
        items = world.items();
        items.len() >= truth.len()
    });
    let mut found = BTreeMap::<i64, Item>::new();
    for item in items {
        let id = item.product_seq;
        if let Some(before) = found.insert(id, item) {
            unreachable!("{id} is there twice, once as {before:?}");
        }
    }
    assert_eq!(found, truth);
}

#[test]
fn every_product_is_written_once_though_workers_are_killed_stopped_and_doubled_and_the_site_fails() {
    let given = std::env::var("NARU_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u32>).into();
    println!("NARU_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::with_real_registry(Config { seed, ..site(400) }, 4);
    for plan in [
        json!({"kind": "unavailable", "percent": 10, "times": 2}),
        json!({"kind": "tooManyRequests", "percent": 3, "times": 1, "retryAfterSeconds": 1}),
        json!({"kind": "cutOff", "percent": 5, "times": 2}),
        json!({"kind": "captcha", "percent": 5, "times": 2}),
        json!({"kind": "slow", "percent": 5, "times": 1, "delayMillis": 700}),
    ] {
        world.site.break_down(plan);
    }
    let mut planners = vec![world.planner()];
    let mut fetchers = (0..2)
        .map(|number| world.fetcher(&format!("fetcher-{number}")))
        .collect::<Vec<_>>();
    let mut names = 2;
    let mut kills = 0;
    let started = Instant::now();
    for round in 0..60 {
        let before = world.items().len();
        world.site.release(random.random_range(20..60));
        if round % 4 == 0 {
            eventually(WITHIN, "something more is written", || {
                world.items().len() > before
            });
        }
        let choice = random.random_range(0..fetchers.len());
        println!(
            "{:.1} s: round {round}, {} items",
            started.elapsed().as_secs_f32(),
            before
        );
        match random.random_range(0..10) {
            0..5 => {
                // As when a container is restarted: under the same name.
                fetchers[choice].process.kill();
                let name = fetchers[choice].name.clone();
                fetchers[choice] = world.fetcher(&name);
                kills += 1;
            }
            5 if fetchers.len() > 1 => {
                fetchers.remove(choice).process.kill();
                kills += 1;
            }
            6 if fetchers.len() < 5 => {
                fetchers.push(world.fetcher(&format!("fetcher-{names}")));
                names += 1;
            }
            7 => {
                fetchers[choice].process.signal("TERM");
                let ended = fetchers[choice].process.wait(WITHIN);
                assert_eq!(ended, Some(0), "{}", fetchers[choice].process.errors());
                fetchers[choice] = world.fetcher(&format!("fetcher-{names}"));
                names += 1;
            }
            8 => {
                planners.drain(..).for_each(|planner| planner.process.kill());
                planners.push(world.planner());
                kills += 1;
            }
            _ => {
                // Two at once: the new one takes over, the old one ends.
                planners.retain(|planner| planner.process.is_running());
                planners.push(world.planner());
            }
        }
    }
    let zombie = &fetchers[0];
    zombie.process.signal("STOP");
    fetchers.push(world.fetcher("fetcher-last"));
    world.site.release(100);
    eventually(WITHIN, "the group has given up the stopped fetcher", || {
        !world.kafka.members(GROUP).contains(&fetchers[0].name)
    });
    fetchers[0].process.signal("CONT");
    world.site.release(100);
    planners.push(world.planner());
    assert_all_products_once(&world, Duration::from_secs(180));
    // What a late one still holds must not come a second time either.
    for worker in &fetchers {
        worker.process.signal("TERM");
    }
    for worker in &mut fetchers {
        assert_eq!(
            worker.process.wait(WITHIN),
            Some(0),
            "{}",
            worker.process.errors()
        );
    }
    assert_all_products_once(&world, WITHIN);
    world.assert_every_id_is_planned_once();
    assert_eq!(world.kafka.read_committed(DEAD), []);
    println!(
        "{} products once each after {kills} kills in {:.0} s",
        world.site.truth().len(),
        started.elapsed().as_secs_f32()
    );
}

#[test]
fn an_outage_of_kafka_only_delays_the_work() {
    let mut world = World::new(site(200), 2);
    let (planner, fetcher) = (world.planner(), world.fetcher("fetcher-0"));
    for _ in 0..3 {
        let before = world.items().len();
        world.site.release(150);
        eventually(WITHIN, "something more is written", || {
            world.items().len() > before
        });
        world.kafka.kill_and_restart();
    }
    world.site.release(50);
    assert_all_products_once(&world, Duration::from_secs(120));
    world.assert_every_id_is_planned_once();
    assert!(planner.process.is_running() && fetcher.process.is_running());
}

#[test]
fn a_second_planner_takes_over_and_the_first_ends() {
    let world = World::new(site(100), 2);
    let first = world.planner();
    first.wait_until_ready();
    let second = world.planner();
    second.wait_until_ready();
    world.site.release(50);
    assert_eq!(first.process.wait(WITHIN), Some(1));
    let errors = first.process.errors();
    assert!(
        errors.contains("a newer instance has taken over transactional id \"job.planner\""),
        "{errors}"
    );
    eventually(WITHIN, "the new ids are planned", || {
        world
            .ranges()
            .last()
            .is_some_and(|(_, to)| *to == world.site.head())
    });
    world.assert_every_id_is_planned_once();
}

#[test]
fn a_restart_continues_inside_a_range() {
    let mut world = World::new(site(600), 1);
    world.config.frontier.range_size = 1_000;
    let _planner = world.planner();
    let fetcher = world.fetcher("fetcher-0");
    eventually(WITHIN, "a part of the range is committed", || {
        world
            .kafka
            .committed(GROUP, FRONTIER, 0)
            .is_some_and(|(_, metadata)| metadata.contains("done"))
    });
    fetcher.process.kill();
    let written = world.items().len();
    assert!(
        written < world.site.truth().len(),
        "the kill came too late to show anything"
    );
    let _fetcher = world.fetcher("fetcher-0");
    assert_all_products_once(&world, WITHIN);
    let summary = world.site.summary();
    let again = summary["servedMoreThanOnce"].as_u64().unwrap();
    println!("{written} products were written before the kill, {again} were fetched twice");
    assert!(again <= 150, "{summary}");
}

#[test]
fn a_group_whose_offsets_have_expired_continues_where_it_was() {
    let mut world = World::new(site(600), 2);
    world.config.frontier.range_size = 150;
    let _planner = world.planner();
    let fetcher = world.fetcher("fetcher-0");
    eventually(WITHIN, "a range is done and another begun", || {
        (0..2).all(|partition| {
            let committed = world.kafka.committed(GROUP, FRONTIER, partition);
            committed.is_some_and(|(offset, metadata)| offset > 0 && metadata.contains("done"))
        })
    });
    fetcher.stop();
    let written = world.items().len();
    assert!(written < world.site.truth().len(), "the stop came too late");
    let kept = world.kafka.committed(GROUP, FRONTIER, 1).unwrap();
    world.kafka.forget_group(GROUP);
    assert_eq!(world.kafka.committed(GROUP, FRONTIER, 0), None);
    // One partition has its offset still, and one is new: nothing of it was ever done.
    world.kafka.commit(GROUP, FRONTIER, 1, (kept.0, &kept.1));
    world.kafka.grow_topic(FRONTIER, 3);
    world.site.release(600);
    let fetcher = world.fetcher("fetcher-1");
    assert_all_products_once(&world, WITHIN);
    world.assert_every_id_is_planned_once();
    let summary = world.site.summary();
    // Those that were under way at the stop, up to the window of each partition.
    let again = summary["servedMoreThanOnce"].as_u64().unwrap();
    println!("{written} products were written before, {again} were fetched twice");
    assert!(again <= 200, "{summary}");

    // With everything done, the offsets come back by themselves: nobody sees work where there is none.
    let end = |partition| {
        world
            .kafka
            .committed(GROUP, FRONTIER, partition)
            .map(|(offset, _)| offset)
    };
    fetcher.stop();
    let ends = (0..3).map(end).collect::<Vec<_>>();
    assert!(ends.iter().all(Option::is_some), "{ends:?}");
    world.kafka.forget_group(GROUP);
    let fetcher = world.fetcher("fetcher-2");
    eventually(WITHIN, "the offsets are where they were", || {
        (0..3).map(end).eq(ends.iter().copied())
    });
    fetcher.stop();

    // Offsets that somebody has set say nothing of progress, which is put where it does not expire without more work.
    for (partition, end) in (0..).zip(&ends) {
        world.kafka.commit(GROUP, FRONTIER, partition, (end.unwrap(), ""));
    }
    let fetcher = world.fetcher("fetcher-3");
    eventually(WITHIN, "progress is committed", || {
        (0..3).all(|partition| {
            let committed = world.kafka.committed(GROUP, FRONTIER, partition);
            committed.is_some_and(|(_, metadata)| metadata.contains("done"))
        })
    });
    assert!((0..3).map(end).eq(ends.iter().copied()));
    fetcher.stop();
    assert_all_products_once(&world, WITHIN);
    assert_eq!(
        world.site.summary()["product"]["requests"],
        summary["product"]["requests"]
    );
}

#[test]
fn all_fetchers_together_keep_to_the_rate_of_the_job() {
    let mut world = World::new(site(250), 4);
    world.config.politeness.max_requests_per_second = 20.0;
    world.config.politeness.max_concurrent = 5;
    world
        .site
        .break_down(json!({"kind": "slow", "percent": 100, "delayMillis": 150}));
    let _planner = world.planner();
    let mut fetchers = vec![world.fetcher("fetcher-0")];
    fetchers[0].wait_until_ready();
    fetchers.extend((1..4).map(|number| world.fetcher(&format!("fetcher-{number}"))));
    assert_all_products_once(&world, WITHIN);
    let summary = world.site.summary();
    println!("{summary}");
    // One more at each of the group's members when their beats fall together.
    assert!(
        summary["product"]["busiestSecond"].as_u64().unwrap() <= 24,
        "{summary}"
    );
    assert!(
        summary["product"]["maxInFlight"].as_u64().unwrap() <= 4,
        "{summary}"
    );
    // The planner has one of its own.
    assert!(summary["all"]["maxInFlight"].as_u64().unwrap() <= 5, "{summary}");
    // Pages that are under way while their partition moves are asked for again: up to four at each of three moves.
    assert!(summary["servedMoreThanOnce"].as_u64().unwrap() <= 12, "{summary}");
}

#[test]
fn a_fetcher_without_partitions_is_ready_and_takes_over_at_once_when_another_leaves() {
    let world = World::new(site(100), 1);
    let _planner = world.planner();
    let first = world.fetcher("fetcher-0");
    first.wait_until_ready();
    let second = world.fetcher("fetcher-1");
    second.wait_until_ready();
    assert_all_products_once(&world, WITHIN);
    let (working, idle) = if partitions(&world, &first) == 1 {
        (first, second)
    } else {
        (second, first)
    };
    let started = Instant::now();
    working.process.signal("TERM");
    assert_eq!(working.process.wait(WITHIN), Some(0));
    // Sooner than the session of 10 s would time out.
    eventually(Duration::from_secs(8), "the partition has moved", || {
        partitions(&world, &idle) == 1
    });
    println!("the partition moved within {:?}", started.elapsed());
}

fn partitions(world: &World, fetcher: &Worker) -> u32 {
    let metrics = fetcher.ask(&world.site, "/metrics");
    let line = metrics
        .lines()
        .find(|line| line.starts_with("naru_fetcher_partitions "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_default()
}

#[test]
fn a_planner_that_may_ask_rarely_is_ready_as_soon_as_it_has_found_an_id() {
    let mut world = World::new(site(40), 1);
    // Ten times that between two requests of the planner's.
    world.config.politeness.max_requests_per_second = 2.0;
    let planner = world.planner();
    planner.wait_until_ready();
    let asked = world.site.log().len();
    // robots.txt, the index and its first sitemap.
    assert!((3..=4).contains(&asked), "{:?}", world.site.log());
    planner.stop();
}

#[test]
fn an_incompatible_schema_keeps_a_fetcher_waiting_with_a_reason() {
    let mut world = World::with_real_registry(site(20), 1);
    let subjects = format!("{}/config", world.config.registry.url);
    world
        .site
        .put_json(&subjects, &json!({"compatibility": "BACKWARD"}));
    let _planner = world.planner();
    let before = world.fetcher("fetcher-0");
    assert_all_products_once(&world, WITHIN);
    drop(before);
    world.config.fields.push(
        serde_json::from_value(json!({"name": "seller", "type": "string", "required": true,
                                      "from": [{"json": "$..product.nickName"}]}))
        .unwrap(),
    );
    let after = world.fetcher("fetcher-0");
    eventually(WITHIN, "the fetcher says what is wrong", || {
        let reason = after.ask_when_up(&world.site, "/readyz");
        reason.contains("refuses the schema of subject \"items-value\" as incompatible")
    });
    assert!(after.process.is_running());
}

#[test]
fn pages_that_cannot_be_had_and_records_that_lack_a_field_are_dead_letters() {
    let mut world = World::new(site(40), 1);
    world.config.fields.push(
        serde_json::from_value(json!({"name": "warranty", "type": "string", "required": true,
                                      "from": [{"css": "main .warranty"}]}))
        .unwrap(),
    );
    world.config.retry.exponential_times = 0;
    world
        .site
        .break_down(json!({"kind": "unavailable", "percent": 20}));
    let _planner = world.planner();
    let _fetcher = world.fetcher("fetcher-0");
    let truth = world.site.truth();
    let mut letters = Vec::new();
    eventually(WITHIN, "every product is a dead letter", || {
        letters = world.kafka.read_committed(DEAD);
        letters.len() >= truth.len()
    });
    let mut reasons = BTreeMap::<String, usize>::new();
    for letter in letters {
        let letter: serde_json::Value = serde_json::from_slice(&letter.value.unwrap()).unwrap();
        *reasons
            .entry(letter["reason"].as_str().unwrap().to_owned())
            .or_default() += 1;
        let tries = if letter["reason"].as_str().unwrap().contains("503") {
            4
        } else {
            1
        };
        assert_eq!(letter["attempts"], tries, "{letter}");
    }
    println!("{reasons:?}");
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons.contains_key("no rule of the required field \"warranty\" finds a value"),
        "{reasons:?}"
    );
    assert!(
        reasons.contains_key("the site answered 503 Service Unavailable"),
        "{reasons:?}"
    );
    assert_eq!(world.items(), []);
}

#[test]
fn workers_that_wait_for_a_silent_kafka_end_soon_after_they_are_told_to() {
    let mut world = World::new(site(1), 1);
    for role in ["planner", "fetcher-0"] {
        // Whoever comes is let in and hears nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        world.config.kafka.bootstrap_servers = silent.local_addr().unwrap().to_string();
        let worker = match role {
            "planner" => world.planner(),
            fetcher => world.fetcher(fetcher),
        };
        // The first client is the producer.
        silent.accept().unwrap();
        worker.process.signal("TERM");
        let told = Instant::now();
        assert_eq!(
            worker.process.wait(WITHIN),
            Some(0),
            "{}",
            worker.process.errors()
        );
        println!("{} ended after {:?}", worker.name, told.elapsed());
        // Nothing is to be finished yet, so that far less than the 22 s is enough in which a worker must end.
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    }
}
