//! Takes the names of the component's parts out of its file: 8 kB that the linker puts there and nobody reads. The
//! profile's `strip` is for the core module in it alone.

use anyhow::{Context, Result};
use std::fs;
use std::io::Write;
use std::path::Path;
use wasmparser::{Chunk, Parser, Payload};

const NAMES: &str = "component-name";

/// Strips the file; one that has no names stays as it is.
pub(crate) fn strip(component: &Path) -> Result<()> {
    let read = || format!("cannot read {}", component.display());
    let bytes = fs::read(component).with_context(read)?;
    let kept = without_names(&bytes).with_context(read)?;
    if kept.len() == bytes.len() {
        return Ok(());
    }
    // Another file in its place: cargo links it to its own copy.
    let folder = component.parent().context("a file is in a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&kept)?;
    file.as_file().set_permissions(fs::metadata(component)?.permissions())?;
    file.persist(component)?;
    Ok(())
}

fn without_names(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut kept = Vec::with_capacity(bytes.len());
    let (mut parser, mut rest) = (Parser::new(0), bytes);
    while !rest.is_empty() {
        let (mut length, mut is_kept) = (rest.len(), true);
        if let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? {
            length = consumed;
            match payload {
                // Modules and components inside stay whole.
                Payload::ModuleSection { unchecked_range, .. }
                | Payload::ComponentSection { unchecked_range, .. } => {
                    length += unchecked_range.len();
                }
                Payload::CustomSection(section) => is_kept = section.name() != NAMES,
                _ => {}
            }
        }
        let (section, after) = rest.split_at_checked(length).context("it ends too early")?;
        if is_kept {
            kept.extend_from_slice(section);
        }
        rest = after;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id, content.len().try_into().unwrap()], content].concat()
    }

    fn custom(name: &str) -> Vec<u8> {
        let length = name.len().try_into().unwrap();
        section(0, &[&[length], name.as_bytes(), b"content"].concat())
    }

    #[test]
    fn component_stripped_has_lost_its_names_and_nothing_else() {
        const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
        let module = section(1, &[b"\0asm\x01\0\0\0".to_vec(), custom(NAMES)].concat());
        let plain = [COMPONENT, &module, &custom("producers")].concat();
        let named = [COMPONENT, &module, &custom(NAMES), &custom("producers")].concat();
        assert_eq!(without_names(&named).unwrap(), plain);
        assert_eq!(without_names(&plain).unwrap(), plain);
        assert!(without_names(&named[..named.len() - 1]).is_err());

        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("c.wasm"), folder.path().join("cargo.wasm"));
        fs::write(&other, &named).unwrap();
        fs::hard_link(&other, &file).unwrap();
        strip(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), plain);
        assert_eq!(fs::read(&other).unwrap(), named, "what cargo keeps is as it was");
    }
}
