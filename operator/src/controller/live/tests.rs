//! What is known of children, whatever the watch and our own requests tell in which order.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::runtime::watcher::Event;

use super::*;

fn map(name: &str, version: u64) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            resource_version: Some(version.to_string()),
            managed_fields: Some(vec![ManagedFieldsEntry::default()]),
            owner_references: Some(vec![OwnerReference {
                kind: "ScrapeJob".to_owned(),
                name: "items".to_owned(),
                uid: "0001".to_owned(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

fn listed(objects: Vec<ConfigMap>) -> Kept<ConfigMap> {
    let kept = Kept::default();
    kept.take(Event::Init);
    for object in objects {
        kept.take(Event::InitApply(object));
    }
    kept.take(Event::InitDone);
    kept
}

fn versions(kept: &Kept<ConfigMap>) -> Vec<(String, Option<String>)> {
    let names = kept.owned("shop", "", "0001");
    let version = |name: String| {
        let found = kept.get("shop", &name);
        (name, found.and_then(|found| found.metadata.resource_version))
    };
    names.into_iter().map(version).collect()
}

#[test]
fn only_news_wakes_the_owner() {
    let kept = listed(vec![map("a", 5)]);
    assert!(kept.take(Event::Apply(map("a", 5))).is_empty());
    assert!(kept.take(Event::Apply(map("a", 4))).is_empty());
    let woken = kept.take(Event::Apply(map("a", 6)));
    assert_eq!(
        (woken[0].kind.as_str(), woken[0].name.as_str()),
        ("ScrapeJob", "items")
    );
    // Our own change, of which the watch tells later.
    kept.put(kept.begin(), &map("a", 7));
    assert!(kept.take(Event::Apply(map("a", 7))).is_empty());
    assert_eq!(kept.take(Event::Delete(map("a", 8))).len(), 1);
    assert!(versions(&kept).is_empty());
}

#[test]
fn a_list_after_a_lost_watch_tells_what_went_and_what_changed_meanwhile() {
    let kept = listed(vec![map("a", 1), map("b", 1), map("c", 1)]);
    kept.take(Event::Init);
    assert!(kept.take(Event::InitApply(map("a", 1))).is_empty());
    assert_eq!(kept.take(Event::InitApply(map("b", 2))).len(), 1);
    // Nothing is missing while the list is under way.
    assert_eq!(versions(&kept).len(), 3);
    assert_eq!(kept.take(Event::InitDone).len(), 1);
    assert_eq!(versions(&kept).len(), 2);
}

#[test]
fn an_answer_does_not_bring_back_what_went_meanwhile() {
    let kept = listed(vec![map("a", 1)]);
    let began = kept.begin();
    kept.take(Event::Delete(map("a", 3)));
    kept.put(began, &map("a", 2));
    assert!(versions(&kept).is_empty());
    // That another one went makes no difference.
    kept.put(began, &map("b", 4));
    assert_eq!(versions(&kept).len(), 1);
    for _ in 0..=MOST_GONE {
        kept.take(Event::Delete(map("c", 3)));
    }
    kept.put(began, &map("d", 4));
    assert_eq!(versions(&kept).len(), 1);
}

#[test]
fn it_is_known_what_somebody_else_has_deleted_until_it_is_there_again() {
    let kept = listed(vec![map("a", 1), map("b", 1), map("c", 1)]);
    let lost = || ["a", "b", "c"].map(|name| kept.lost("shop", name, "0001"));
    // By us, of which the watch tells before the answer comes, or after it.
    kept.take(Event::Delete(map("a", 2)));
    kept.forget("shop", "a");
    kept.forget("shop", "b");
    kept.take(Event::Delete(map("b", 2)));
    assert_eq!(lost(), [false, false, false]);
    kept.take(Event::Delete(map("c", 2)));
    assert_eq!(lost(), [false, false, true]);
    assert!(!kept.lost("shop", "c", "0002"), "it was another owner's");
    kept.put(kept.begin(), &map("c", 3));
    assert_eq!(lost(), [false, false, false]);
    // While nobody watched.
    kept.take(Event::Init);
    kept.take(Event::InitDone);
    assert_eq!(lost(), [false, false, true]);
}

#[test]
fn what_is_kept_is_small() {
    let (config_map, deployments, budget) = crate::worker::tests::examples();
    let live = Live::default();
    live.config_maps.put(live.config_maps.begin(), &config_map);
    for deployment in &deployments {
        live.deployments.put(live.deployments.begin(), deployment);
    }
    live.budgets.put(live.budgets.begin(), &budget);
    fn texts<K: Followed>(kept: &Kept<K>) -> usize {
        kept.state()
            .objects
            .values()
            .map(|object| object.text.len())
            .sum()
    }
    let bytes = texts(&live.config_maps) + texts(&live.deployments) + texts(&live.budgets);
    // Of a ScrapeJob with its four children: 1,000 of them take less than 3 MB.
    assert!(bytes < 3 * 1024, "{bytes} bytes");
}

#[tokio::test]
async fn a_pass_waits_for_the_first_list() {
    let live = Live::default();
    let waiting = live.listed();
    pin_mut!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    live.deployments.take(Event::InitDone);
    assert!(futures::poll!(&mut waiting).is_pending());
    live.config_maps.take(Event::InitDone);
    assert!(futures::poll!(&mut waiting).is_pending());
    live.budgets.take(Event::InitDone);
    waiting.await.unwrap();
}
