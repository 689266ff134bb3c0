//! What everybody but the operator does: people, the controllers of Deployments, the garbage collector, an autoscaler,
//! and Kafka Connect.

use serde_json::{Value, json};

use super::{DEPLOYMENTS, Kind, Step, World};
use crate::sink_connector;

impl<K: Kind> World<'_, K> {
    /// Somebody does something.
    pub(in crate::histories) fn step(&mut self, step: Step) {
        self.passes.clear();
        match step {
            Step::Create => {
                self.created += 1;
                let spec: Value = serde_json::from_str(self.subject.spec).unwrap();
                let object = json!({
                    "apiVersion": K::api_version(&()), "kind": K::kind(&()),
                    "metadata": { "name": "it", "namespace": "shop", "uid": self.created.to_string(), "generation": 1 },
                    "spec": spec,
                });
                self.server.world(|world| world.put(&self.path(), object));
            }
            Step::Edit(which) => {
                let (pointer, value) = self.subject.edits[which];
                self.edit(pointer, serde_json::from_str(value).unwrap());
            }
            Step::Suspend => self.edit("/suspend", true.into()),
            Step::Resume => self.edit("/suspend", false.into()),
            Step::Drift => self.change(DEPLOYMENTS, |deployment| {
                deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1".into();
            }),
            Step::Lose => {
                self.collect("");
                self.connect.world(|world| {
                    world.configs.clear();
                    world.statuses.clear();
                });
            }
            Step::Delete => {
                let mut object = self.server.world(|world| world.objects[&self.path()].clone());
                // Far away, so that patience never ends.
                object["metadata"]["deletionTimestamp"] = "9999-01-01T00:00:00Z".into();
                if self.subject.kind != sink_connector::KIND {
                    // The brokers in memory know no deletion.
                    object["spec"]["deletionPolicy"] = "Orphan".into();
                }
                self.server.world(|world| world.put(&self.path(), object));
            }
        }
    }

    /// Somebody edits the spec.
    fn edit(&self, pointer: &str, value: Value) {
        self.server.world(|world| {
            let mut object = world.objects[&self.path()].clone();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = object["spec"].pointer_mut(parent).unwrap();
            if parent[field] != value {
                parent[field] = value;
                let generation = object["metadata"]["generation"].as_i64().unwrap();
                object["metadata"]["generation"] = (generation + 1).into();
            }
            world.put(&self.path(), object);
        });
    }

    /// Somebody edits all objects whose path begins so.
    fn change(&self, prefix: &str, edit: impl Fn(&mut Value)) {
        self.server.world(|world| {
            for (path, mut object) in world.objects.clone() {
                if !path.starts_with(prefix) {
                    continue;
                }
                let spec = object["spec"].clone();
                edit(&mut object);
                if object["spec"] != spec {
                    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
                    object["metadata"]["generation"] = (generation + 1).into();
                }
                world.put(&path, object);
            }
        });
    }

    /// Deletes what belongs to any resource but the one with this uid.
    fn collect(&self, uid: &str) {
        self.server.world(|world| {
            for (path, object) in world.objects.clone() {
                let owner = &object["metadata"]["ownerReferences"][0]["uid"];
                if owner.is_string() && owner != uid {
                    world.remove(&path);
                }
            }
        });
    }

    pub(super) fn everybody_else(&self) {
        let uid = self.server.world(|world| {
            let object = world.objects.get(&self.path())?;
            object["metadata"]["uid"].as_str().map(str::to_owned)
        });
        self.collect(uid.as_deref().unwrap_or_default());
        // An autoscaler for which one worker is enough.
        self.change(DEPLOYMENTS, |deployment| {
            let suspended = deployment["metadata"]["annotations"]["naru.dev/applied"] == "suspended";
            if !suspended && uid.is_some() {
                deployment["spec"]["replicas"] = 1.into();
            }
        });
        self.change(DEPLOYMENTS, |deployment| {
            let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
            deployment["status"] = json!({
                "observedGeneration": deployment["metadata"]["generation"], "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
                "conditions": [{ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" }],
            });
        });
        self.connect.world(|world| {
            for (name, status) in &mut world.statuses {
                let state = status["connector"]["state"].clone();
                let tasks = if state == "STOPPED" {
                    "0"
                } else {
                    world.configs[name].get("tasks.max").unwrap()
                };
                let task = |id: i32| json!({ "id": id, "state": state, "worker_id": "w" });
                let tasks: Value = (0..tasks.parse().unwrap()).map(task).collect();
                status["tasks"] = tasks;
            }
        });
    }

    /// State of the connector.
    pub(in crate::histories) fn connector(&self) -> Value {
        self.connectors()["statuses"]["shop.it"]["connector"]["state"].take()
    }

    /// What Connect has.
    pub(super) fn connectors(&self) -> Value {
        self.connect
            .world(|world| json!({ "configs": world.configs, "statuses": world.statuses }))
    }
}
