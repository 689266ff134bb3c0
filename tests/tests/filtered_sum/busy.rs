//! What the worker says of itself beside the offsets that it commits.

use naru_contract::Progress;

use super::*;

#[test]
fn a_worker_says_beside_its_offsets_how_busy_it_is_with_what_comes() {
    let world = World::new(&FragileRegistry::start(), &[]);
    let mut feed = world.feed(1);
    let worker = world.worker("sum-0");
    let said = || {
        let (_, metadata) = world.kafka.committed(GROUP, INPUT, 0)?;
        Progress::of_metadata(&metadata)?.busy
    };
    eventually(WITHIN, "it says so while records arrive", || {
        feed.batch(&[0, 1, 2], 100);
        said().is_some()
    });
    // So few are no work, though each interval has a commit.
    let busy = said().unwrap();
    assert!((0.0..0.5).contains(&busy), "{busy}");
    assert!(worker.metric("busy_ratio").is_some());
}
