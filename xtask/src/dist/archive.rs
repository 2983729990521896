//! Tar archives whose bytes depend on the files alone: sorted, one time, one owner, two
//! modes, no name and no time in the gzip header.

use super::hex;
use anyhow::Result;
use flate2::{Compression, GzBuilder};
use std::io::Write;
use tar::{Builder, EntryType, Header};

/// A file to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Below the archive's folder, with `/`.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    pub(super) executable: bool,
}

impl File {
    /// A file that nobody executes.
    pub(super) fn new(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), bytes: bytes.into(), executable: false }
    }
}

/// Everything in one folder, compressed. `seconds` is the time of every file, Unix time.
pub(super) fn tar_gz(folder: &str, files: Vec<File>, seconds: u64) -> Result<Vec<u8>> {
    let below = |file: File| File { path: format!("{folder}/{}", file.path), ..file };
    compressed(&tar(files.into_iter().map(below).collect(), seconds)?)
}

/// A layer of an image, compressed, and its digest before that, by which a layer is known when it is unpacked.
pub(super) fn layer(files: Vec<File>, seconds: u64) -> Result<(Vec<u8>, String)> {
    let tar = tar(files, seconds)?;
    Ok((compressed(&tar)?, hex(&tar)))
}

fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    // Both would be left out by default too; the byte for the operating system would not.
    let gzip = GzBuilder::new().mtime(0).operating_system(255);
    let mut gzip = gzip.write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

/// Without a folder, and not compressed: for blobs that have the form in which they are digested.
pub(super) fn tar(mut files: Vec<File>, seconds: u64) -> Result<Vec<u8>> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut tar = Builder::new(Vec::new());
    for file in files {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_mtime(seconds);
        header.set_size(file.bytes.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, &file.path, &*file.bytes)?;
    }
    Ok(tar.into_inner()?)
}
