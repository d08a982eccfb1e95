//! `sluice new` writes files of this repository down; a new one among them is one to compile in.

fn main() {
    for folder in [
        "templates",
        "../guest-sdk",
        "../d365/src",
        "../saga/src",
        "../wit",
    ] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
