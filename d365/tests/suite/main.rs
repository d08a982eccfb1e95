//! Bodies of every kind, read, mapped and written again.

#[cfg(feature = "xml")]
mod as_xml;
mod business;
mod contexts;
mod event_grid;
mod hostile;
mod mapping;
mod properties;
mod real_bodies;
mod values;
#[cfg(feature = "xml")]
mod xml;

/// The bytes of one of the crate's own bodies.
fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the crate's own bodies of Dynamics 365.
fn fixtures() -> Vec<String> {
    let folder = format!("{}/fixtures", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder can be listed")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.is_file())
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}
