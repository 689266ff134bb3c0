//! What a resource comes to does not depend on what goes wrong on the way: each history, from creation to deletion, is
//! lived through twice, once with and once without faults, and ends in the same.

mod subjects;
mod world;

use naru_api::{FilteredSum, ScrapeJob, SinkConnector};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::{Builder, Runtime};

use self::{
    subjects::{Services, Subject},
    world::{Lived, Step, Trouble, View, Watches, World},
};
use crate::{connect::fake::Fault as ConnectFault, controller::fake::Fault};

/// Changes of a resource between its creation and its end, and how many passes there are before the next change. None:
/// as many as it takes.
type Changes = Vec<(Step, Option<usize>)>;

/// What ends each history: the resource runs, is deleted, and comes again.
const TAIL: [Step; 3] = [Step::Resume, Step::Delete, Step::Create];

/// Events that a fault may add: a condition that changes and changes back is told in both directions, and a fault can
/// show in a few conditions.
const EVENTS_PER_FAULT: usize = 6;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize).prop_map(Step::Edit),
        2 => Just(Step::Suspend),
        2 => Just(Step::Resume),
        1 => Just(Step::Drift),
        1 => Just(Step::Lose),
    ]
}

fn changes() -> impl Strategy<Value = Changes> {
    let patient = vec(step(), 0..6).prop_map(|steps| steps.into_iter().map(|step| (step, None)).collect());
    let hasty = vec((step(), (0..4_usize).prop_map(Some)), 0..8).prop_map(|mut steps| {
        // What comes of a spec that cannot work is what was there before, and so differs.
        steps.push((Step::Edit(0), Some(1)));
        steps
    });
    prop_oneof![patient, hasty]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let fault = prop_oneof![
        4 => select(vec![409, 429, 500, 503]).prop_map(Fault::Refused),
        3 => any::<bool>().prop_map(|done| Fault::Cut { done }),
        1 => any::<bool>().prop_map(|done| Fault::Silent { done }),
        2 => (1..6_usize).prop_map(Fault::Stale),
    ];
    let view = prop_oneof![
        3 => Just(View::Late(Watches::default())),
        4 => [0..6_usize, 0..6, 0..6, 0..6].prop_map(View::Late),
        1 => Just(View::Restart),
    ];
    let connect = (select(vec![409, 500, 503]), any::<bool>());
    let connect = connect.prop_map(|(status, done)| ConnectFault { status, done });
    (
        vec(option::weighted(0.3, fault), 0..80),
        vec(view, 0..30),
        vec(option::weighted(0.3, connect), 0..40),
    )
        .prop_map(|(requests, views, connect)| Trouble {
            requests,
            views,
            connect,
        })
}

/// Lives through a history.
async fn live<K: world::Kind>(
    subject: &Subject<K>,
    services: &Services,
    changes: &Changes,
    trouble: Trouble,
) -> Vec<Lived> {
    let hasty = changes.iter().any(|(_, passes)| passes.is_some());
    let mut world = World::new(subject, services, trouble).await;
    let mut lived = Vec::new();
    for (step, passes) in [(Step::Create, None)].iter().chain(changes) {
        world.step(*step);
        match passes {
            Some(passes) => world.passes(*passes).await,
            None => world.settle().await,
        }
        // What comes of a change that nobody waited for is no matter.
        if !hasty {
            lived.push(world.lived(*step));
        }
    }
    for step in TAIL {
        world.step(step);
        if hasty && step == Step::Delete {
            world.until_gone().await;
        } else {
            world.settle().await;
            lived.push(world.lived(step));
        }
    }
    lived
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn ends_the_same<K: world::Kind>(subject: &Subject<K>) {
    let services = Services::new(subject.topics);
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(std::env::var("PROPTEST_CASES").map_or(24, |cases| cases.parse().unwrap()))
    };
    let block_on =
        |changes: &Changes, trouble| runtime().block_on(live(subject, &services, changes, trouble));
    let lives = |(changes, trouble): (Changes, Trouble)| {
        let calm = changes.iter().map(|(step, _)| (*step, None)).collect();
        let expected = block_on(&calm, Trouble::default());
        let troubles = trouble.count();
        let lived = block_on(&changes, trouble);
        let strict = lived.len() == expected.len();
        let events = |lived: &[Lived]| lived.last().map_or(0, |lived| lived.events);
        let most = events(&expected) + EVENTS_PER_FAULT * troubles;
        prop_assert!(
            events(&lived) <= most,
            "{} events, {most} are enough",
            events(&lived)
        );
        // Of a hasty history only the end of the tail is compared.
        let expected = expected
            .iter()
            .rev()
            .filter(|lived| strict || lived.step != Step::Delete);
        for (expected, lived) in expected.zip(lived.iter().rev()) {
            same(expected, lived, strict)?;
        }
        Ok(())
    };
    TestRunner::new(config)
        .run(&(changes(), trouble()), lives)
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn same(expected: &Lived, lived: &Lived, strict: bool) -> Result<(), TestCaseError> {
    let (expected, lived) = (expected.objects(strict), lived.objects(strict));
    let paths = |objects: &world::Objects| objects.keys().cloned().collect::<Vec<_>>();
    prop_assert_eq!(paths(&lived), paths(&expected));
    for (path, expected) in &expected {
        prop_assert_eq!(&lived[path], expected, "{}", path);
    }
    Ok(())
}

#[test]
fn a_filtered_sum_ends_the_same_whatever_goes_wrong() {
    ends_the_same::<FilteredSum>(&subjects::FILTERED_SUM);
}

#[test]
fn a_scrape_job_ends_the_same_whatever_goes_wrong() {
    ends_the_same::<ScrapeJob>(&subjects::SCRAPE_JOB);
}

#[test]
fn a_sink_connector_ends_the_same_whatever_goes_wrong() {
    ends_the_same::<SinkConnector>(&subjects::SINK_CONNECTOR);
}

#[test]
fn a_pause_that_could_not_be_written_down_ends_with_the_suspension() {
    let subject = &subjects::SINK_CONNECTOR;
    let services = Services::new(subject.topics);
    runtime().block_on(async {
        let mut world = World::new(subject, &services, Trouble::default()).await;
        world.step(Step::Create);
        world.settle().await;
        world.step(Step::Suspend);
        // The Secret can be read, and no status written.
        world.fail([None, Some(Fault::Refused(500)), Some(Fault::Refused(500))]);
        world.passes(1).await;
        world.step(Step::Resume);
        world.settle().await;
        assert_eq!(world.connector(), "RUNNING");
    });
}
