//! Bundles `feeds/` and `tables/` into the program, so that one file is all that a machine needs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let root = package.join("../..");
    let mut code = String::new();
    for (constant, folder) in [("FEEDS", "feeds"), ("SAMPLES", "feeds"), ("TABLES", "tables")] {
        let folder = root.join(folder).canonicalize().expect("the folder is part of the project");
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        collect(&folder, &mut files);
        files.sort();
        writeln!(code, "pub(crate) static {constant}: &[(&str, &[u8])] = &[").expect("a string");
        for file in files {
            let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if (extension == "sample") == (constant == "SAMPLES") && extension != "expected" {
                println!("cargo::rerun-if-changed={}", file.display());
                let name = file.strip_prefix(&folder).expect("below the folder").to_string_lossy().replace('\\', "/");
                writeln!(code, "    ({name:?}, include_bytes!({:?})),", file.display().to_string()).expect("a string");
            }
        }
        code.push_str("];\n");
    }
    let out = std::env::var_os("OUT_DIR").expect("set by cargo");
    std::fs::write(Path::new(&out).join("bundled.rs"), code).expect("the output folder is writable");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
