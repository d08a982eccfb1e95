//! Takes a plug-in file, gives the same component under another manifest.
//!
//! A component is a header of 8 bytes and sections `id, LEB128 size, bytes`; a custom
//! section has id 0 and begins with its LEB128-prefixed name (component-model `Binary.md`).

use anyhow::{Context, Result, ensure};

/// Magic, version 13, layer 1.
const HEADER: [u8; 8] = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
/// The custom section that holds a plug-in's manifest.
const MANIFEST: &str = "sluicegate:manifest";

/// The component with `manifest` in place of its own.
///
/// # Errors
/// When the bytes are no component.
pub fn with_manifest(component: &[u8], manifest: &str) -> Result<Vec<u8>> {
    let mut changed = without_manifest(component)?;
    let mut section = Vec::new();
    put_bytes(&mut section, MANIFEST.as_bytes());
    section.extend_from_slice(manifest.as_bytes());
    changed.push(0);
    put_bytes(&mut changed, &section);
    Ok(changed)
}

/// The component with other words in its manifest.
///
/// # Errors
/// When a word is not there, or the bytes are no component.
pub fn with_words(component: &[u8], changes: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut text = manifest(component)?;
    for (from, to) in changes {
        ensure!(text.contains(from), "{from} is not in {text}");
        text = text.replace(from, to);
    }
    with_manifest(component, &text)
}

/// The component without a manifest.
///
/// # Errors
/// When the bytes are no component.
pub fn without_manifest(component: &[u8]) -> Result<Vec<u8>> {
    let mut kept = HEADER.to_vec();
    for section in sections(component)? {
        if section.name != Some(MANIFEST.as_bytes()) {
            kept.extend_from_slice(section.whole);
        }
    }
    Ok(kept)
}

/// The manifest that a component carries.
///
/// # Errors
/// When the bytes are no component or carry none.
pub fn manifest(component: &[u8]) -> Result<String> {
    let sections = sections(component)?;
    let section = sections
        .iter()
        .find(|section| section.name == Some(MANIFEST.as_bytes()));
    let content = section
        .context("the component carries no manifest")?
        .content;
    Ok(String::from_utf8(content.to_vec())?)
}

/// A component that imports this instance, does nothing and exports nothing.
pub fn that_imports(import: &str) -> Vec<u8> {
    // A type section with one instance type without members.
    let mut component = HEADER.to_vec();
    component.extend([7, 3, 1, 0x42, 0]);
    // An import section: the name, and "an instance of type 0".
    let mut imported = vec![1, 0];
    put_bytes(&mut imported, import.as_bytes());
    imported.extend([5, 0]);
    component.push(10);
    put_bytes(&mut component, &imported);
    component
}

struct Section<'a> {
    /// Id, size and bytes.
    whole: &'a [u8],
    /// Of a custom section.
    name: Option<&'a [u8]>,
    /// Of a custom section: what follows the name.
    content: &'a [u8],
}

fn sections(component: &[u8]) -> Result<Vec<Section<'_>>> {
    let mut rest = component
        .strip_prefix(&HEADER)
        .context("no component: the header is another")?;
    let mut sections = Vec::new();
    while let Some((&id, after_id)) = rest.split_first() {
        let mut after = after_id;
        let body = take_bytes(&mut after)?;
        let (whole, behind) = rest.split_at(rest.len() - after.len());
        let (mut content, mut name) = (body, None);
        if id == 0 {
            name = Some(take_bytes(&mut content)?);
        }
        sections.push(Section {
            whole,
            name,
            content,
        });
        rest = behind;
    }
    Ok(sections)
}

/// Takes a length and that many bytes off the front.
fn take_bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8]> {
    let mut length = 0_usize;
    let mut shift = 0;
    loop {
        let (&byte, rest) = from
            .split_first()
            .context("the component ends in a length")?;
        *from = rest;
        ensure!(shift < 32, "a length of more than 32 bits");
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (bytes, rest) = from
        .split_at_checked(length)
        .context("the component ends in a section")?;
    *from = rest;
    Ok(bytes)
}

/// Appends a length and the bytes.
fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    while 0x7f < length {
        to.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_goes_in_comes_out_and_is_replaced() -> Result<()> {
        let long = "name = \"x\"\n".repeat(50);
        let first = with_manifest(&HEADER, &long)?;
        assert_eq!(manifest(&first)?, long);
        let second = with_manifest(&first, "name = \"y\"")?;
        assert_eq!(manifest(&second)?, "name = \"y\"");
        assert_eq!(without_manifest(&second)?, HEADER);
        assert!(manifest(&HEADER).is_err());
        assert!(sections(b"\0asm\x01\0\0\0").is_err());
        Ok(())
    }
}
