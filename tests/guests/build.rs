//! The guests begin with the heap that `sluice build` gives a plug-in: host/src/cli/build/rust.rs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "unknown") {
        println!("cargo::rustc-link-arg=--initial-heap=1048576");
    }
}
