//! How much stack a kernel program uses: 512 bytes are all there is, for a function and those that it calls together.
//!
//! Read from the object file. The verifier does its own sum, but says nothing as long as it is right.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SymbolIndex, SymbolKind};

/// The register that points to the end of the frame.
const FRAME: u8 = 10;
/// The kernel rounds every frame up to so many bytes; with a JIT, newer ones to half of it.
const GRANULE: u32 = 32;

/// One function: what it uses itself, and whom it calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Bytes of its own frame.
    pub bytes: u32,
    /// Names, each once for every call.
    pub calls: Vec<String>,
}

/// All functions of an object, by name.
#[derive(Clone, Debug, Default)]
pub struct Functions(pub BTreeMap<String, Function>);

impl Functions {
    /// Scans an object's instructions.
    ///
    /// # Errors
    /// It is no object of the kind that the kernel program's linker makes.
    pub fn read(object: &[u8]) -> Result<Self> {
        let file = object::File::parse(object)?;
        let mut functions = Self::default();
        for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
            functions.0.insert(symbol.name()?.into(), function(&file, &symbol)?);
        }
        Ok(functions)
    }

    /// The deepest chain of calls that begins here, and its bytes, each frame rounded up.
    ///
    /// # Errors
    /// There is no such function, or one that calls itself, which the kernel would not take either.
    pub fn deepest(&self, name: &str) -> Result<(u32, Vec<String>)> {
        self.deepest_below(name, 0)
    }

    fn deepest_below(&self, name: &str, depth: usize) -> Result<(u32, Vec<String>)> {
        ensure!(depth <= self.0.len(), "{name} calls itself");
        let function = self.0.get(name).with_context(|| format!("no function {name}"))?;
        let mut deepest = (0, Vec::new());
        for callee in &function.calls {
            let below = self.deepest_below(callee, depth + 1)?;
            deepest = if below.0 > deepest.0 { below } else { deepest };
        }
        let (bytes, mut chain) = deepest;
        chain.insert(0, name.into());
        Ok((bytes + function.bytes.max(1).next_multiple_of(GRANULE), chain))
    }
}

/// Where a function begins: its section, and the offset therein.
type Place = (SectionIndex, u64);

fn function(file: &object::File<'_>, symbol: &object::Symbol<'_, '_>) -> Result<Function> {
    let index = symbol.section_index().context("a function without a section")?;
    let section = file.section_by_index(index)?;
    let code = section.data()?;
    let (start, end) = (symbol.address(), symbol.address() + symbol.size());
    let body = code.get(start as usize..end as usize).context("a function beyond its section")?;
    let instructions: Vec<Instruction> = body.chunks_exact(8).map(Instruction::new).collect();
    let moved: BTreeMap<u64, SymbolIndex> = section
        .relocations()
        .filter_map(|(offset, relocation)| match relocation.target() {
            RelocationTarget::Symbol(symbol) => Some((offset, symbol)),
            _ => None,
        })
        .collect();
    let mut function = Function { bytes: frame(&instructions), calls: Vec::new() };
    for (offset, instruction) in (start..).step_by(8).zip(&instructions).filter(|(_, one)| one.is_local_call()) {
        // Relative to the next instruction, or to what a relocation says.
        let distance = (i64::from(instruction.immediate) + 1) * 8;
        let target = match moved.get(&offset) {
            Some(symbol) => {
                let symbol = file.symbol_by_index(*symbol)?;
                (symbol.section_index().unwrap_or(index), symbol.address().saturating_add_signed(distance))
            }
            None => (index, offset.saturating_add_signed(distance)),
        };
        function.calls.push(name_at(file, target)?);
    }
    Ok(function)
}

fn name_at(file: &object::File<'_>, (section, offset): Place) -> Result<String> {
    let mut functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let found = functions.find(|symbol| symbol.section_index() == Some(section) && symbol.address() == offset);
    Ok(found.with_context(|| format!("a call to offset {offset}, where no function is"))?.name()?.into())
}

/// One instruction of 64 bits (RFC 9669, section 3).
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    fn new(bytes: &[u8]) -> Self {
        let word = bytes.iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
        Self {
            code: word as u8,
            destination: (word >> 8) as u8 & 15,
            source: (word >> 12) as u8 & 15,
            offset: (word >> 16) as i16,
            immediate: (word >> 32) as i32,
        }
    }

    /// Of a function in the same program.
    const fn is_local_call(self) -> bool {
        self.code == 0x85 && self.source == 1
    }

    /// The offset from the frame's end that it loads from or stores to.
    const fn access(self) -> Option<i64> {
        let base = match self.code & 7 {
            // LDX has its address in the source; ST and STX have it in the destination.
            1 => self.source,
            2 | 3 => self.destination,
            _ => return None,
        };
        if base == FRAME { Some(self.offset as i64) } else { None }
    }
}

/// Bytes that a function's own accesses reach down to. Where the frame's address is copied to another register, what is
/// added to it there counts too.
fn frame(instructions: &[Instruction]) -> u32 {
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut lowest = 0;
    let mut copies = [None; 16];
    for one in instructions {
        lowest = lowest.min(one.access().unwrap_or(0));
        let copy = &mut copies[usize::from(one.destination)];
        *copy = match one.code {
            COPY if one.source == FRAME => Some(0),
            ADD => copy.map(|offset: i64| offset + i64::from(one.immediate)),
            // Arithmetic and loads put something else there.
            code if matches!(code & 7, 0 | 1 | 4 | 7) => None,
            _ => *copy,
        };
        lowest = lowest.min(copy.unwrap_or(0));
    }
    u32::try_from(-lowest).unwrap_or(u32::MAX)
}
