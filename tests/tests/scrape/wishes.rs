//! What a site wants, and what it is not.

use super::*;

#[test]
fn a_site_that_wants_to_be_left_alone_is_so_in_the_next_session_too() {
    const HOLD: u64 = 25;
    let mut world = World::new(site(20), 1);
    world.config.politeness.max_concurrent = 1;
    world.site.break_down(
        json!({"kind": "tooManyRequests", "percent": 100, "times": 1, "retryAfterSeconds": HOLD}),
    );
    let _planner = world.planner();
    let _fetcher = world.fetcher("fetcher-0");
    let pages = || {
        let log = world.site.log().into_iter();
        let of_fetcher = log.filter(|(_, path, _)| path.starts_with("/product/") || path == "/robots.txt");
        of_fetcher.collect::<Vec<_>>()
    };
    eventually(WITHIN, "the site is asked too much", || {
        pages().iter().any(|(_, _, status)| *status == Some(429))
    });
    let held = Instant::now();
    // Somebody takes the fetcher's place, which it takes back, in a session that knows nothing of the one before.
    let twin = GroupConsumer::join(&world.config.kafka, GROUP, "fetcher-0", FRONTIER).unwrap();
    eventually(WITHIN, "the twin has the partition", || {
        matches!(twin.poll(Duration::from_millis(50)), Ok(Event::Assigned(_)))
    });
    eventually(WITHIN, "the twin is replaced in turn", || {
        matches!(twin.poll(Duration::from_millis(50)), Err(Error::Replaced { .. }))
    });
    println!("the fetcher is back after {:?}", held.elapsed());
    assert!(
        held.elapsed() < Duration::from_secs(HOLD - 5),
        "too late to show anything"
    );
    let since_the_first = || {
        let is_refused = |(_, _, status): &(_, _, Option<u64>)| *status == Some(429);
        pages()
            .into_iter()
            .skip_while(move |page| !is_refused(page))
            .collect::<Vec<_>>()
    };
    eventually(WITHIN, "the site is asked again", || since_the_first().len() > 1);
    let pages = since_the_first();
    let ((refused, ..), (again, path, _)) = (&pages[0], &pages[1]);
    assert!(again - refused >= HOLD * 1_000, "{pages:?}");
    assert!(path.starts_with("/product/"), "robots.txt is known: {pages:?}");
}

#[test]
fn a_page_that_is_redirected_to_where_nobody_may_ask_is_asked_for_again_and_a_dead_letter_in_the_end() {
    let mut world = World::new(site(40), 1);
    world.config.retry.exponential_times = 1;
    world.site.break_down(json!({"kind": "redirect", "percent": 100}));
    let _planner = world.planner();
    let _fetcher = world.fetcher("fetcher-0");
    let count = world.site.truth().len();
    let mut letters = Vec::new();
    eventually(WITHIN, "every product is a dead letter", || {
        letters = world.kafka.read_committed(DEAD);
        letters.len() >= count
    });
    for letter in letters {
        let letter: serde_json::Value = serde_json::from_slice(&letter.value.unwrap()).unwrap();
        let reason = letter["reason"].as_str().unwrap();
        let expected = "it redirects where nothing may be asked for: robots.txt disallows http://127.0.0.1:";
        assert!(reason.starts_with(expected), "{reason}");
        assert_eq!(letter["attempts"], 1 + 3 + 1);
    }
    let private = world
        .site
        .log()
        .into_iter()
        .filter(|(_, path, _)| path.starts_with("/my-account"));
    assert_eq!(private.collect::<Vec<_>>(), []);
}

#[test]
fn a_page_that_is_redirected_only_while_the_site_is_asked_too_much_is_written() {
    let world = World::new(site(40), 1);
    world
        .site
        .break_down(json!({"kind": "redirect", "percent": 100, "times": 2}));
    let _planner = world.planner();
    let _fetcher = world.fetcher("fetcher-0");
    assert_all_products_once(&world, WITHIN);
    assert_eq!(world.kafka.read_committed(DEAD), []);
}

#[test]
fn a_planner_that_has_never_found_an_id_has_never_been_ready() {
    let mut world = World::new(site(40), 1);
    // Seconds between two requests of the planner, in which it has found nothing yet.
    world.config.politeness.max_requests_per_second = 10.0;
    let right = world.config.source.head.url.clone();
    for wrong in [
        world.site.url("/no-such-sitemap.xml"),
        // It can be had, and names no id.
        world.site.url("/robots.txt"),
    ] {
        world.config.source.head.url = wrong;
        let planner = world.planner();
        let mut said = Vec::new();
        eventually(WITHIN, "readiness names the head", || {
            let answer = planner.ask_when_up(&world.site, "/readyz");
            let is_named = answer.contains("the newest id:");
            said.push(answer);
            is_named
        });
        assert!(!said.iter().any(|answer| answer.starts_with("ok")), "{said:?}");
    }
    world.config.source.head.url = right;
    world.planner().wait_until_ready();
}

#[test]
fn a_pattern_that_takes_something_else_for_an_id_plans_nothing() {
    let mut world = World::new(site(40), 1);
    // As if the ids were small, and what the pattern finds were a time.
    world.config.source.start = Start::Id(1);
    let planner = world.planner();
    eventually(WITHIN, "readiness names the pattern", || {
        let reason = planner.ask_when_up(&world.site, "/readyz");
        reason.contains("the largest id that head.pattern") && reason.contains("is 228000040")
    });
    assert_eq!(world.ranges(), []);
}
