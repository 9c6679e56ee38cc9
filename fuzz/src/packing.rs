//! Deliveries in packings and archives, of archives too.

// The file has no dependency but what unpacks; the room that it is in has the store.
#[path = "../../crates/pipeline/src/open.rs"]
#[expect(dead_code, unreachable_pub, reason = "what the flow calls, the targets do not")]
mod open;

use std::io::{self, Cursor, Read, Write};

use feed::unpack::{Caps, Damaged};

/// The most that comes out of one input here, in bytes: what is refused at a MiB would be at a thousand.
const MOST: u64 = 1 << 20;

pub(crate) fn fuzz(input: &[u8]) {
    unpack(input);
    // An archive's files are counted together, so that what comes out has an end.
    let mut out = 0;
    let opened = open::open(&mut Cursor::new(input), |mut opened| {
        assert!(opened.archives.len() <= Caps::DEEPEST);
        let mut peeked = open::Peeked::new(&mut opened.input);
        let begins = peeked.begins();
        assert!(begins.as_ref().map_or(true, |begins| begins.len() <= 1 << 18));
        let mut read = vec![0; 1 << 16];
        loop {
            match peeked.read(&mut read) {
                Ok(0) => return Ok(()),
                Ok(length) => out += length as u64,
                Err(error) if Damaged::is(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            // Whoever takes a delivery may give up: that is no damage.
            if out > 64 * MOST {
                return Err(io::Error::other("enough"));
            }
        }
    });
    if let Err(error) = opened {
        assert!(!error.to_string().is_empty());
    }
}

fn unpack(input: &[u8]) {
    let caps = Caps { bytes: MOST, ..Caps::default() };
    let mut out = Vec::new();
    let read = feed::unpack::unpack(input, input.len() as u64, caps).and_then(|plain| plain.take(MOST + (1 << 20)).read_to_end(&mut out));
    assert!(out.len() as u64 <= MOST.max(input.len() as u64), "{} bytes", out.len());
    if let Err(error) = read {
        assert!(Damaged::is(&error), "memory does not fail: {error}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let report = b"ip,port\n192.0.2.1,80\n198.51.100.1,443\n".as_slice();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(report).expect("in memory");
    let gz = gz.finish().expect("in memory");
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bz2.write_all(report).expect("in memory");
    let bz2 = bz2.finish().expect("in memory");
    let zst = zstd::encode_all(report, 3).expect("in memory");
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(report.len() as u64);
    header.set_cksum();
    tar.append_data(&mut header, "a.csv", report).expect("in memory");
    let tar = tar.into_inner().expect("in memory");
    let zip = zipped(&[("a.csv", report)]);
    let nested = zipped(&[("a.tar", &tar), ("b.zip", &zip), ("c.gz", &gz), ("d/e.csv", report)]);
    let twice = zstd::encode_all(nested.as_slice(), 3).expect("in memory");
    vec![gz, bz2, zst, XZ.to_vec(), tar, zip, nested, twice, report.to_vec()]
}

/// 2,000 times an x, as `xz` packs it.
const XZ: &[u8] = b"\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\xe0\x07\xcf\x00\x11\x5d\x00\x3c\x6f\xfb\xbf\xfe\xa3\xb1\x5e\xe5\xf8\x3f\xb2\xa8\x1c\xeb\x32\x00\x00\x00\x00\x00\x1c\x89\x2a\x90\xb7\xd4\x4f\x48\x00\x01\x2d\xd0\x0f\x00\x00\x00\x3a\xad\xf1\xa9\xb1\xc4\x67\xfb\x02\x00\x00\x00\x00\x04\x59\x5a";

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("in memory");
        archive.write_all(bytes).expect("in memory");
    }
    archive.finish().expect("in memory").into_inner()
}
