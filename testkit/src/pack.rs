//! Packed deliveries, with no time and no owner in them: the same content packs to the same bytes.

use std::io::{Cursor, Write};

use flate2::{Compression, GzBuilder};
use zip::write::SimpleFileOptions;

pub(crate) fn gzip(name: &str, bytes: &[u8]) -> Vec<u8> {
    // 255 is "unknown": the system that packs is none of the content.
    let mut packer = GzBuilder::new().filename(name).mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    packer.write_all(bytes).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

pub(crate) fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory takes it")
}

/// A zip that holds this one file.
pub(crate) fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut packer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default()).unix_permissions(0o644);
    packer.start_file(name, options).expect("the first file");
    packer.write_all(bytes).expect("memory takes it");
    packer.finish().expect("memory takes it").into_inner()
}
