//! Takes a folder, gives the schemas in it by type and version: `<type>/<version>.json`, as git keeps them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::registry::{Version, token};
use super::upcasts::Record;

/// Bytes of a file.
const MAX_FILE: u64 = 4 << 20;

/// Why a folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not JSON, or too big.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Schemas by type and version.
pub type Files = BTreeMap<String, BTreeMap<u32, Value>>;

/// One document.
///
/// # Errors
/// When it cannot be read, is too big, or no JSON.
pub fn document(path: &Path) -> Result<Value, Error> {
    let size = fs::metadata(path)
        .map_err(|source| io_error(path, source))?
        .len();
    let content = |reason: String| Error::Content {
        path: path.to_owned(),
        reason,
    };
    if MAX_FILE < size {
        return Err(content(format!(
            "found {size} bytes, expected at most {MAX_FILE}"
        )));
    }
    let text = fs::read_to_string(path).map_err(|source| io_error(path, source))?;
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).map_err(|error| content(format!("not JSON: {error}")))
}

/// All schemas of a folder. The type is the schema's `title`, else the folder's name.
///
/// # Errors
/// When something there cannot be read.
pub fn read(folder: &Path) -> Result<Files, Error> {
    let mut files = Files::new();
    for of_type in entries(folder)? {
        if !of_type.is_dir() {
            continue;
        }
        for path in entries(&of_type)? {
            let is_json = path.extension().is_some_and(|end| end == "json");
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            let (true, Some(number)) = (is_json, number) else {
                continue;
            };
            let schema = document(&path)?;
            let title = schema
                .get("title")
                .and_then(Value::as_str)
                .map(str::to_owned);
            let name = of_type
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            let event_type = title.or(name).unwrap_or_default();
            files.entry(event_type).or_default().insert(number, schema);
        }
    }
    Ok(files)
}

/// Writes one version; gives where.
///
/// # Errors
/// When it cannot be written.
pub fn write(folder: &Path, version: &Version) -> Result<PathBuf, Error> {
    let name = format!("{}.json", version.version);
    put(folder, (&version.event_type, &name), &version.schema)
}

/// Writes the way to one version, `<type>/<version>.upcast.json`; gives where.
///
/// # Errors
/// When it cannot be written.
pub fn write_upcast(folder: &Path, record: &Record) -> Result<PathBuf, Error> {
    let name = format!("{}.upcast.json", record.version);
    put(folder, (&record.event_type, &name), &record.steps)
}

fn put(
    folder: &Path,
    (event_type, name): (&str, &str),
    document: &Value,
) -> Result<PathBuf, Error> {
    let folder = folder.join(token(event_type).replace('/', "."));
    fs::create_dir_all(&folder).map_err(|source| io_error(&folder, source))?;
    let path = folder.join(name);
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    fs::write(&path, text + "\n").map_err(|source| io_error(&path, source))?;
    Ok(path)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = fs::read_dir(folder).map_err(|source| io_error(folder, source))?;
    let paths = read.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths
        .collect::<Result<_, _>>()
        .map_err(|source| io_error(folder, source))?;
    paths.sort();
    Ok(paths)
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}
