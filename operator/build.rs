//! Links the operator so that less of it is in memory.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |part| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        // The loader reads two megabytes of addresses to relocate when the program starts, which stay in memory. Packed they
        // are a few kilobytes. It takes glibc 2.36 of 2022.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
