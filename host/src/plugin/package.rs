//! Takes a core module and a manifest, gives a plug-in in one file, and reads such a file back.
//!
//! A plug-in file is a WebAssembly component with its `plugin.toml` in a custom section,
//! so that what an operator copies, digests and rolls back is one thing.

use sha2::{Digest, Sha256};
use wasm_encoder::{Component, ComponentSection, CustomSection, Module};
use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentExportSectionReader, ComponentImportSectionReader,
    ExportSectionReader, Validator, WasmFeatures,
};
use wit_component::StringEncoding;

use crate::contract::{self, HTTP, VERSION};

/// The custom section that holds the text of `plugin.toml`.
pub const MANIFEST_SECTION: &str = "sluicegate:manifest";

/// The interfaces that make a component a plug-in.
const EXPORTED: [&str; 3] = ["consumer", "projector", "steps"];
const MAGIC: &[u8] = b"\0asm";
const MODULE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
const HEADER: usize = 8;
const CUSTOM_ID: u8 = 0;
const IMPORT_ID: u8 = 10;
const EXPORT_ID: u8 = 11;
const MODULE_EXPORT_ID: u8 = 7;

/// What a plug-in exports, with the version that `wit/` has.
pub(super) const CONSUMER: &str = "sluicegate:plugin/consumer@0.1.0";
/// What a projection exports instead,
pub(super) const PROJECTOR: &str = "sluicegate:plugin/projector@0.1.0";
/// and what a saga does.
pub(super) const STEPS: &str = "sluicegate:plugin/steps@0.1.0";
/// And what one exports beside it that carries its state over.
pub(super) const MIGRATION: &str = "sluicegate:plugin/migration@0.1.0";

/// Why a file is not a plug-in, or could not be made one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes do not begin as WebAssembly does.
    #[error(
        "not WebAssembly: the file does not begin with the bytes `\\0asm`; give a .wasm file \
         (text format is not read)"
    )]
    NotWasm,
    /// WebAssembly of a binary version that is neither module nor component.
    #[error(
        "WebAssembly of the binary version {0:02x?}, which is neither a core module \
         (01 00 00 00) nor a component (0d 00 01 00); build it with a current toolchain"
    )]
    UnknownVersion([u8; 4]),
    /// A core module where a component is needed.
    #[error(
        "a core module, not a component; `sluice build --module FILE --manifest plugin.toml` \
         makes a plug-in of it"
    )]
    CoreModule,
    /// A component of another world.
    #[error(
        "the component exports none of {CONSUMER}, {PROJECTOR} and {STEPS}, but {found}; build it \
         against the world sluicegate:plugin/consumer-plugin, projection or saga, or one of your \
         own that exports the same interface"
    )]
    NoConsumer {
        /// The names of its exports.
        found: String,
    },
    /// The binary breaks off, or a section is not what it says.
    #[error("damaged WebAssembly at byte {offset:#x}: {message}; build or copy the file again")]
    Malformed {
        /// Where, counted from the start of the file.
        offset: usize,
        /// What the parser found.
        message: String,
    },
    /// The module is sound, but does not fit the plug-in world. Holds what the encoder found.
    #[error(
        "the module does not fit the world sluicegate:plugin/consumer-plugin: {0}; build it for \
         wasm32-unknown-unknown with the crate sluicegate-guest, one function in it marked \
         #[consumer], or #[projection]"
    )]
    NotAPlugin(String),
    /// No manifest in the component.
    #[error(
        "no manifest: the component has no custom section `sluicegate:manifest`; make the file \
         with `sluice build`"
    )]
    NoManifest,
    /// The manifest is not text.
    #[error(
        "the manifest in the component is not UTF-8 from its byte {valid_up_to} on; save \
         plugin.toml as UTF-8 and run `sluice build` again"
    )]
    ManifestNotUtf8 {
        /// The number of bytes that are fine.
        valid_up_to: usize,
    },
}

impl From<BinaryReaderError> for Error {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed {
            offset: error.offset(),
            message: error.message().to_owned(),
        }
    }
}

/// Makes a component of a core module that was built against `wit/`, and validates it. A
/// component that exports `consumer` is left as it is.
///
/// Errors when the bytes are neither, or do not export `sluicegate:plugin/consumer`, or the
/// module imports what the world does not have. What a component imports is not looked at.
pub fn componentize(wasm: &[u8]) -> Result<Vec<u8>, Error> {
    match version(wasm)? {
        MODULE => from_module(wasm),
        COMPONENT => from_component(wasm),
        other => Err(Error::UnknownVersion(other)),
    }
}

fn from_component(component: &[u8]) -> Result<Vec<u8>, Error> {
    Validator::new_with_features(WasmFeatures::all()).validate_all(component)?;
    let exports = exports(component)?;
    if exports
        .iter()
        .any(|name| EXPORTED.iter().any(|one| contract::is_served(name, one)))
    {
        return Ok(component.to_vec());
    }
    if let Some(version) = exports
        .iter()
        .find_map(|name| contract::other_version(name))
    {
        return Err(Error::NotAPlugin(contract::remedy(version)));
    }
    let found = match exports.as_slice() {
        [] => "nothing at all".to_owned(),
        names => names.join(", "),
    };
    Err(Error::NoConsumer { found })
}

fn from_module(core_module: &[u8]) -> Result<Vec<u8>, Error> {
    let module = with_our_world(core_module)?;
    // The encoder takes its input on trust.
    Validator::new_with_features(WasmFeatures::all()).validate_all(&module)?;
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(misfit)
}

/// The module with the plug-in world's types in it, in place of those that came along.
///
/// What a bindings generator leaves behind is trusted by the encoder down to endless
/// recursion (a damaged package name does it), and it could only ever say what `wit/` says.
fn with_our_world(core_module: &[u8]) -> Result<Vec<u8>, Error> {
    let mut module = Vec::with_capacity(core_module.len());
    module.extend_from_slice(&Module::HEADER);
    for section in sections(core_module)? {
        let name = section.custom_name()?.unwrap_or_default();
        if !name.starts_with("component-type") {
            module.extend_from_slice(section.whole);
        }
    }
    embed_world(&mut module, world(core_module)?)?;
    Ok(module)
}

/// The world that a core module was built for, by what it exports.
fn world(core_module: &[u8]) -> Result<&'static str, Error> {
    for section in sections(core_module)? {
        if section.id == MODULE_EXPORT_ID {
            for export in ExportSectionReader::new(section.content)? {
                let export = export?.name;
                if export.starts_with(MIGRATION) {
                    return Ok("migrating-plugin");
                }
                if export.starts_with(PROJECTOR) {
                    return Ok("projection");
                }
                if export.starts_with(STEPS) {
                    return Ok("saga");
                }
            }
        }
    }
    Ok("consumer-plugin")
}

fn embed_world(module: &mut Vec<u8>, world: &str) -> Result<(), Error> {
    let (mut resolve, _) = contract::resolve().map_err(Error::NotAPlugin)?;
    // Of the imports those stay that the module has.
    let built = format!(
        "package sluicegate:built;
         world plugin {{
             include sluicegate:plugin/{world}@{VERSION};
             import {HTTP};
         }}"
    );
    let package = resolve.push_str("built", &built).map_err(misfit)?;
    let world = resolve
        .select_world(&[package], Some("plugin"))
        .map_err(misfit)?;
    wit_component::embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
        .map_err(misfit)
}

fn misfit(error: impl std::fmt::Display) -> Error {
    Error::NotAPlugin(format!("{error:#}"))
}

/// Gives the component with the manifest in it, in place of one that was there.
pub fn embed_manifest(component: &[u8], manifest_toml: &str) -> Result<Vec<u8>, Error> {
    let rest = without_section(component, MANIFEST_SECTION)?;
    Ok(with_section(
        &rest,
        MANIFEST_SECTION,
        manifest_toml.as_bytes(),
    ))
}

/// The component and one more custom section.
pub(super) fn with_section(component: &[u8], name: &str, data: &[u8]) -> Vec<u8> {
    let mut packed = component.to_vec();
    CustomSection {
        name: name.into(),
        data: data.into(),
    }
    .append_to_component(&mut packed);
    packed
}

/// The component without its custom sections of this name.
pub(super) fn without_section(component: &[u8], name: &str) -> Result<Vec<u8>, Error> {
    let mut packed = Vec::with_capacity(component.len());
    packed.extend_from_slice(Component::HEADER.as_slice());
    for section in component_sections(component)? {
        if section.custom_name()? != Some(name) {
            packed.extend_from_slice(section.whole);
        }
    }
    Ok(packed)
}

/// What the component's custom sections of this name hold.
pub(super) fn custom_sections<'a>(component: &'a [u8], name: &str) -> Result<Vec<&'a [u8]>, Error> {
    let mut found = Vec::new();
    for section in component_sections(component)? {
        if section.custom_name()? == Some(name) {
            let mut content = section.content;
            content.read_string()?;
            let rest = content.bytes_remaining();
            found.push(content.read_bytes(rest)?);
        }
    }
    Ok(found)
}

/// The text of the manifest that the component carries.
pub fn manifest_text(component: &[u8]) -> Result<String, Error> {
    let found = custom_sections(component, MANIFEST_SECTION)?;
    let bytes = found.first().ok_or(Error::NoManifest)?;
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned)
        .map_err(|error| Error::ManifestNotUtf8 {
            valid_up_to: error.valid_up_to(),
        })
}

/// What the component wants from its host: the names of all its imports, in its own
/// order, such as `sluicegate:plugin/state@0.1.0`.
pub fn imports(component: &[u8]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for section in component_sections(component)? {
        if section.id == IMPORT_ID {
            for import in ComponentImportSectionReader::new(section.content)? {
                names.push(import?.name.name.to_owned());
            }
        }
    }
    Ok(names)
}

/// The names of all that the component exports.
pub(super) fn exports(component: &[u8]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for section in component_sections(component)? {
        if section.id == EXPORT_ID {
            for export in ComponentExportSectionReader::new(section.content)? {
                names.push(export?.name.name.to_owned());
            }
        }
    }
    Ok(names)
}

/// The content's name in the object store and in dead letters: `sha256:` and 64 hex digits.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// One section, without a look into what is nested in it.
struct Section<'a> {
    id: u8,
    /// With the id and the size in front.
    whole: &'a [u8],
    content: BinaryReader<'a>,
}

impl<'a> Section<'a> {
    /// The name of a custom section; `None` for every other.
    fn custom_name(&self) -> Result<Option<&'a str>, Error> {
        Ok(match self.id {
            CUSTOM_ID => Some(self.content.clone().read_string()?),
            _ => None,
        })
    }
}

/// All sections of a component, in their order.
fn component_sections(component: &[u8]) -> Result<Vec<Section<'_>>, Error> {
    match version(component)? {
        COMPONENT => sections(component),
        MODULE => Err(Error::CoreModule),
        other => Err(Error::UnknownVersion(other)),
    }
}

/// All sections of a module or a component, in their order.
fn sections(wasm: &[u8]) -> Result<Vec<Section<'_>>, Error> {
    let mut reader = BinaryReader::new(wasm, 0);
    reader.read_bytes(HEADER)?;
    let mut sections = Vec::new();
    while !reader.eof() {
        let from = reader.current_position();
        let id = reader.read_u8()?;
        let content = reader.read_reader()?;
        let whole = wasm.get(from..reader.current_position());
        sections.push(Section {
            id,
            whole: whole.unwrap_or_default(),
            content,
        });
    }
    Ok(sections)
}

/// The four bytes behind the magic number.
fn version(wasm: &[u8]) -> Result<[u8; 4], Error> {
    let rest = wasm.strip_prefix(MAGIC).ok_or(Error::NotWasm)?;
    rest.first_chunk().copied().ok_or_else(|| Error::Malformed {
        offset: wasm.len(),
        message: "the file ends within its first 8 bytes".to_owned(),
    })
}

#[cfg(test)]
mod tests;
