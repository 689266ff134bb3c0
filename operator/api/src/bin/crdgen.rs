//! Writes `crds/*.yaml` and the chart's copies from the types in `operator/api`. Run by `make generate`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, yaml) in naru_api::manifests() {
        fs::write(root.join(path), yaml)?;
    }
    Ok(())
}
