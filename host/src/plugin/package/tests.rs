//! What goes into a plug-in file comes back; what is no such file is an error in words.

use proptest::prelude::*;
use wasm_encoder::{
    CodeSection, ComponentImportSection, ComponentTypeRef, ComponentTypeSection, EntityType,
    ExportKind, ExportSection, Function, FunctionSection, ImportSection, InstanceType,
    MemorySection, MemoryType, TypeSection, ValType,
};

use super::*;

const STATE: &str = "sluicegate:plugin/state@0.1.0";

/// A component that imports an empty `state`, with a custom section of another's in front.
fn component() -> Vec<u8> {
    let mut component = Component::new();
    component.section(&CustomSection {
        name: "producers-of-old".into(),
        data: (&[1, 2, 3]).into(),
    });
    let mut types = ComponentTypeSection::new();
    types.instance(&InstanceType::new());
    component.section(&types);
    let mut imports = ComponentImportSection::new();
    imports.import(STATE, ComponentTypeRef::Instance(0));
    component.section(&imports);
    component.finish()
}

#[test]
fn the_manifest_comes_back_and_a_second_one_takes_its_place() {
    let bare = component();
    assert!(matches!(manifest_text(&bare), Err(Error::NoManifest)));
    let first = embed_manifest(&bare, "[plugin]\nname = \"erste-größe\"\n").unwrap();
    assert_eq!(
        manifest_text(&first).unwrap(),
        "[plugin]\nname = \"erste-größe\"\n"
    );
    let second = embed_manifest(&first, "").unwrap();
    assert_eq!(manifest_text(&second).unwrap(), "");
    assert_eq!(
        second,
        embed_manifest(&bare, "").unwrap(),
        "nothing of the first is left"
    );
    assert!(second.starts_with(&bare), "the rest is as it was");
    assert_eq!(imports(&second).unwrap(), [STATE]);
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(&second)
        .unwrap();
}

/// A core module that handles events by trapping, and imports `state`'s `delete`.
fn core_module() -> Vec<u8> {
    const I32: ValType = ValType::I32;
    let mut types = TypeSection::new();
    types.ty().function([I32, I32], []);
    types.ty().function([I32], [I32]);
    types.ty().function([I32, I32, I32, I32], [I32]);
    let mut imports = ImportSection::new();
    imports.import(STATE, "delete", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(1).function(2);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports
        .export("memory", ExportKind::Memory, 0)
        .export(
            "sluicegate:plugin/consumer@0.1.0#handle",
            ExportKind::Func,
            1,
        )
        .export("cabi_realloc", ExportKind::Func, 2);
    let mut code = CodeSection::new();
    for _ in 0..2 {
        let mut body = Function::new([]);
        body.instructions().unreachable().end();
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&memories).section(&exports).section(&code);
    module.finish()
}

#[test]
fn a_module_becomes_a_component_that_imports_what_it_uses() {
    let component = componentize(&core_module()).unwrap();
    let types = "sluicegate:plugin/types@0.1.0";
    assert_eq!(imports(&component).unwrap(), [STATE, types]);
    assert_eq!(componentize(&component).unwrap(), component, "it is one");
}

#[test]
fn what_a_module_says_of_its_world_is_not_read() {
    let mut module = core_module();
    let sound = componentize(&module).unwrap();
    CustomSection {
        name: "component-type:of-mine".into(),
        data: b"junk".into(),
    }
    .append_to_component(&mut module);
    assert_eq!(componentize(&module).unwrap(), sound);
}

#[test]
fn a_file_of_another_kind_is_named() {
    let module = Module::new().finish();
    assert!(matches!(manifest_text(&module), Err(Error::CoreModule)));
    assert!(matches!(
        embed_manifest(&module, ""),
        Err(Error::CoreModule)
    ));
    assert!(matches!(
        componentize(&component()),
        Err(Error::NoConsumer { found }) if found == "nothing at all"
    ));
    assert!(matches!(manifest_text(b"PK\x03\x04"), Err(Error::NotWasm)));
    assert!(matches!(manifest_text(b""), Err(Error::NotWasm)));
    assert!(matches!(
        imports(b"\0asm\x0a\0\x01\0"),
        Err(Error::UnknownVersion(_))
    ));
    assert!(matches!(
        imports(b"\0asm\x0d"),
        Err(Error::Malformed { offset: 5, .. })
    ));
}

#[test]
fn a_module_that_is_no_plugin_says_what_to_do() {
    let error = componentize(&Module::new().finish())
        .unwrap_err()
        .to_string();
    assert!(error.contains("#[consumer]"), "{error}");
}

#[test]
fn a_manifest_of_other_bytes_is_refused() {
    let mut component = component();
    CustomSection {
        name: MANIFEST_SECTION.into(),
        data: (&[b'a', 0xff]).into(),
    }
    .append_to_component(&mut component);
    let error = manifest_text(&component).unwrap_err();
    assert!(
        matches!(error, Error::ManifestNotUtf8 { valid_up_to: 1 }),
        "{error}"
    );
}

#[test]
fn a_file_cut_short_is_damaged_where_it_ends() {
    let whole = embed_manifest(&component(), "[plugin]\n").unwrap();
    let error = manifest_text(whole.get(..whole.len() - 3).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[test]
fn the_digest_is_the_standards_own() {
    assert_eq!(
        digest(b"abc"),
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

fn no_panic(bytes: &[u8]) {
    let _ = (manifest_text(bytes), imports(bytes), componentize(bytes));
    if let Ok(packed) = embed_manifest(bytes, "x") {
        assert_eq!(manifest_text(&packed).unwrap(), "x");
    }
}

proptest! {
    #[test]
    fn junk_is_an_error_and_never_a_panic(
        junk in proptest::collection::vec(any::<u8>(), 0..256), header in 0..3usize,
    ) {
        let header: &[u8] = [b"".as_slice(), b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"][header];
        no_panic(&[header, junk.as_slice()].concat());
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_harmless(at in 0usize..4096, to in any::<u8>()) {
        for mut bytes in [embed_manifest(&component(), "[plugin]\n").unwrap(), core_module()] {
            let at = at % bytes.len();
            bytes[at] = to;
            no_panic(&bytes);
        }
    }
}
