//! What the operator is told by its watches, and when.

use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{BUDGETS, CONFIG_MAPS, DEPLOYMENTS, Kind, Objects, Watches, World, operator};
use crate::controller::live::{Followed, Kept};

impl<K: Kind> World<'_, K> {
    /// The operator is started anew, and lists what there is.
    pub(super) fn restart(&mut self) {
        self.context = operator(&self.settings, &self.kafka, &self.server, &self.faults);
        self.seen.fill(self.server.world(|world| world.past.len()));
        self.server.world(|world| {
            list(&self.context.live.deployments, DEPLOYMENTS, &world.objects);
            list(&self.context.live.config_maps, CONFIG_MAPS, &world.objects);
            list(&self.context.live.budgets, BUDGETS, &world.objects);
        });
    }

    /// The watches tell of what has changed, up to so many changes ago.
    pub(super) fn tell(&mut self, late: Watches) {
        let live = &self.context.live;
        self.server.world(|world| {
            let until: Vec<_> = late
                .iter()
                .map(|late| world.past.len().saturating_sub(*late))
                .collect();
            let nothing = Objects::new();
            for (watch, until) in until.into_iter().enumerate() {
                for change in self.seen[watch]..until {
                    let before = change
                        .checked_sub(1)
                        .map_or(&nothing, |before| &world.past[before]);
                    let after = &world.past[change];
                    match watch {
                        1 => tell(&live.deployments, DEPLOYMENTS, before, after),
                        2 => tell(&live.config_maps, CONFIG_MAPS, before, after),
                        3 => tell(&live.budgets, BUDGETS, before, after),
                        _ => {}
                    }
                }
                self.seen[watch] = self.seen[watch].max(until);
            }
        });
    }
}

fn of_kind<'a>(objects: &'a Objects, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    objects.iter().filter(move |(path, _)| path.starts_with(prefix))
}

fn typed<C: DeserializeOwned>(object: &Value) -> C {
    serde_json::from_value(object.clone()).unwrap()
}

fn list<C: Followed>(kept: &Kept<C>, prefix: &str, objects: &Objects) {
    kept.take(Event::Init);
    for (_, object) in of_kind(objects, prefix) {
        kept.take(Event::InitApply(typed(object)));
    }
    kept.take(Event::InitDone);
}

fn tell<C: Followed>(kept: &Kept<C>, prefix: &str, before: &Objects, after: &Objects) {
    for (path, object) in of_kind(after, prefix) {
        if before.get(path) != Some(object) {
            kept.take(Event::Apply(typed(object)));
        }
    }
    for (path, object) in of_kind(before, prefix) {
        if !after.contains_key(path) {
            kept.take(Event::Delete(typed(object)));
        }
    }
}
