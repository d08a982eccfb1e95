//! Takes what a plug-in is to do wrong, gives the core module that does it, as no compiler would.

use wasm_encoder::{
    BlockType, CodeSection, Component, ConstExpr, DataSection, ElementSection, Elements,
    ExportKind, ExportSection, Function, FunctionSection, MemorySection, MemoryType,
    Module as Encoded, RawSection, RefType, StartSection, TableSection, TableType, TypeSection,
    ValType,
};

/// What a function does.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// Answers ok, from memory that nobody has written to.
    Answer,
    /// Answers from this address.
    AnswerFrom(i32),
    /// Answers with a rejection whose text has this length.
    AnswerWithLength(i32),
    /// Grows its table until it gets no more, and breaks when it got too much.
    GrowTable,
    /// Calls itself until there is no stack left.
    Recurse,
    /// Never ends.
    Spin,
    /// Breaks.
    Trap,
}

/// A core module of a plug-in.
#[derive(Debug)]
pub struct Module {
    handle: Body,
    allocate: Option<Body>,
    start: Option<Body>,
    data: usize,
}

/// Where answers stand.
const ANSWER: i32 = 1024;
const PAGE: usize = 64 << 10;

impl Module {
    /// One that handles events so.
    pub fn of(handle: Body) -> Self {
        Self {
            handle,
            allocate: None,
            start: None,
            data: 0,
        }
    }

    /// And does this when it is started.
    #[must_use]
    pub fn starting_with(mut self, start: Body) -> Self {
        self.start = Some(start);
        self
    }

    /// And does this when it is asked for memory.
    #[must_use]
    pub fn allocating_with(mut self, allocate: Body) -> Self {
        self.allocate = Some(allocate);
        self
    }

    /// And brings so many bytes of data.
    #[must_use]
    pub fn with_data(mut self, bytes: usize) -> Self {
        self.data = bytes;
        self
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([ValType::I32; 4], [ValType::I32]);
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0).function(1).function(2);
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 1,
            maximum: None,
            shared: false,
        });
        let mut memories = MemorySection::new();
        let pages = 32 + self.data.div_ceil(PAGE);
        memories.memory(MemoryType {
            minimum: u64::try_from(pages).unwrap_or(u64::MAX),
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut exports = ExportSection::new();
        exports.export(
            "sluicegate:plugin/consumer@0.1.0#handle",
            ExportKind::Func,
            0,
        );
        exports.export("cabi_realloc", ExportKind::Func, 1);
        exports.export("memory", ExportKind::Memory, 0);
        let mut code = CodeSection::new();
        code.function(&self.handle.function());
        code.function(&match self.allocate {
            Some(body) => body.function(),
            None => allocator(),
        });
        code.function(&match self.start {
            Some(body) => body.function_without_answer(),
            None => Body::Answer.function_without_answer(),
        });
        let mut elements = ElementSection::new();
        elements.active(
            None,
            &ConstExpr::i32_const(0),
            Elements::Functions([0].as_slice().into()),
        );
        let mut data = DataSection::new();
        data.active(0, &ConstExpr::i32_const(1 << 20), vec![b'x'; self.data]);
        let mut module = Encoded::new();
        module
            .section(&types)
            .section(&functions)
            .section(&tables)
            .section(&memories)
            .section(&exports);
        if self.start.is_some() {
            module.section(&StartSection { function_index: 2 });
        }
        module.section(&elements).section(&code);
        if 0 < self.data {
            module.section(&data);
        }
        module.finish()
    }
}

impl Body {
    fn function(self) -> Function {
        let mut function = Function::new([(1, ValType::I32)]);
        let mut code = function.instructions();
        match self {
            Self::Answer => drop(code.i32_const(ANSWER)),
            Self::AnswerFrom(address) => drop(code.i32_const(address)),
            Self::AnswerWithLength(length) => {
                let at = |offset| wasm_encoder::MemArg {
                    offset,
                    align: 2,
                    memory_index: 0,
                };
                // An error, the rejection, its text at 0.
                code.i32_const(ANSWER).i32_const(1).i32_store(at(0));
                for offset in [8, 16, 24] {
                    code.i32_const(ANSWER).i32_const(1).i32_store(at(offset));
                }
                for offset in [12, 20, 28] {
                    code.i32_const(ANSWER)
                        .i32_const(length)
                        .i32_store(at(offset));
                }
                code.i32_const(ANSWER);
            }
            Self::GrowTable => {
                code.loop_(wasm_encoder::BlockType::Empty)
                    .ref_null(wasm_encoder::HeapType::FUNC)
                    .i32_const(10_000)
                    .table_grow(0)
                    .i32_const(-1)
                    .i32_ne()
                    .br_if(0)
                    .end()
                    .table_size(0)
                    .i32_const(200_000)
                    .i32_gt_u()
                    .if_(wasm_encoder::BlockType::Empty)
                    .unreachable()
                    .end()
                    .i32_const(ANSWER);
            }
            Self::Spin => drop(
                code.loop_(wasm_encoder::BlockType::Empty)
                    .br(0)
                    .end()
                    .unreachable(),
            ),
            Self::Trap => drop(code.unreachable()),
            // Handling is function 0.
            Self::Recurse => drop(code.local_get(0).call(0)),
        }
        function.instructions().end();
        function
    }

    fn function_without_answer(self) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        match self {
            Self::Spin => drop(code.loop_(wasm_encoder::BlockType::Empty).br(0).end()),
            Self::Trap => drop(code.unreachable()),
            _ => {}
        }
        function.instructions().end();
        function
    }
}

/// Gives the memory from 64 KiB on, always the same: enough for one small event.
fn allocator() -> Function {
    let mut function = Function::new([]);
    function.instructions().i32_const(64 << 10).end();
    function
}

/// A component with one module of so many functions of so many bytes, that does nothing.
pub fn bomb(functions: usize, size: usize) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for _ in 0..functions {
        declared.function(0);
        let mut function = Function::new([]);
        for _ in 0..size {
            function.instructions().nop();
        }
        function.instructions().end();
        code.function(&function);
    }
    component(&types, &declared, &code)
}

/// A component with one function of so many nested blocks: a million take the compiler some ten
/// seconds of a core, also optimised.
pub fn nested(depth: usize) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    declared.function(0);
    let mut function = Function::new([]);
    for _ in 0..depth {
        let mut instructions = function.instructions();
        instructions.block(BlockType::Empty).local_get(0).br_if(0);
    }
    for _ in 0..=depth {
        function.instructions().end();
    }
    code.function(&function);
    component(&types, &declared, &code)
}

fn component(types: &TypeSection, declared: &FunctionSection, code: &CodeSection) -> Vec<u8> {
    let mut module = Encoded::new();
    module.section(types).section(declared).section(code);
    let data = module.finish();
    let mut component = Component::new();
    component.section(&RawSection { id: 1, data: &data });
    component.finish()
}
