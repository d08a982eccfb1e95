//! Takes a component, gives whether it can be compiled in bounded time and memory.
//!
//! What a compiler costs is not told by the size of what it gets. So this keeps out what no plug-in
//! needs, and [`compiler`](super::compiler) ends what takes too much all the same. The interpreters
//! of Python and JavaScript are within a half of each bound.

use wasmparser::{Parser, Payload};

use super::package;

/// Bytes of a plug-in's file.
pub const MAX_FILE: usize = 64 << 20;
/// Bytes of code.
const MAX_CODE: usize = 16 << 20;
/// Bytes of one function.
const MAX_FUNCTION: usize = 512 << 10;
/// Functions with code.
const MAX_FUNCTIONS: usize = 65_536;
/// Modules and components in it.
const MAX_PARTS: usize = 100;

/// It is too much.
#[derive(Debug, thiserror::Error)]
#[error("the component has {found} {what}; {allowed} are allowed")]
pub struct TooMuch {
    what: &'static str,
    found: usize,
    allowed: usize,
}

fn within(what: &'static str, found: usize, allowed: usize) -> Result<(), TooMuch> {
    if allowed < found {
        return Err(TooMuch {
            what,
            found,
            allowed,
        });
    }
    Ok(())
}

/// Measures a component.
pub(super) fn check(component: &[u8]) -> Result<(), Error> {
    within("bytes", component.len(), MAX_FILE)?;
    let (mut code, mut functions, mut parts) = (0, 0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(package::Error::from)? {
            Payload::CodeSectionEntry(body) => {
                let size = body.range().len();
                within("bytes in one function", size, MAX_FUNCTION)?;
                code += size;
                functions += 1;
                within("bytes of code", code, MAX_CODE)?;
                within("functions", functions, MAX_FUNCTIONS)?;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                parts += 1;
                within("modules and components in it", parts, MAX_PARTS)?;
            }
            // The rest is read by the validator, which has bounds of its own.
            _ => {}
        }
    }
    Ok(())
}

/// Why a component is not given to the compiler.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is too much.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// It cannot even be read.
    #[error(transparent)]
    Package(#[from] package::Error),
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, Component, Function, FunctionSection, Module, RawSection, TypeSection,
    };

    use super::*;

    /// A component with one module of so many functions of so many bytes.
    fn component(functions: u32, size: usize) -> Vec<u8> {
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], []);
        module.section(&types);
        let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
        for _ in 0..functions {
            declared.function(0);
            let mut function = Function::new([]);
            let mut instructions = function.instructions();
            for _ in 0..size {
                instructions.nop();
            }
            instructions.end();
            code.function(&function);
        }
        module.section(&declared).section(&code);
        let mut component = Component::new();
        let data = module.finish();
        component.section(&RawSection { id: 1, data: &data });
        component.finish()
    }

    fn told(component: &[u8]) -> String {
        check(component).expect_err("too much").to_string()
    }

    #[test]
    fn what_would_keep_the_compiler_busy_is_named() {
        assert!(check(&component(10, 1_000)).is_ok());
        assert!(told(&component(1, 600 << 10)).contains("bytes in one function"));
        assert!(told(&component(70_000, 1)).contains("functions; 65536 are allowed"));
        assert!(told(&component(40, 500 << 10)).contains("bytes of code"));
        assert!(told(b"\0asm").contains("damaged"));
    }
}
