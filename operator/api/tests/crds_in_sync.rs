//! The definitions in `crds/` and in the chart `naru-crds` are those of the types.

use std::{fs, path::Path};

#[test]
fn the_generated_definitions_are_the_committed_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, yaml) in naru_api::manifests() {
        let committed = fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(
            committed == yaml,
            "{path} is not what operator/api says: run `make generate` and commit it"
        );
    }
}
