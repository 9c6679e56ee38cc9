//! What strangers send, made up by libFuzzer: whatever comes, nothing breaks, takes more memory than it may, or is read in two ways.
//!
//!     fuzz                          the targets there are
//!     fuzz seeds FOLDER             what each begins with, in a folder of its own
//!     fuzz TARGET [ARGUMENT...]     libFuzzer's own arguments
//!
//! One program for all targets, since each would link the same rooms. A new one is a row of [`TARGETS`].

mod addresses;
mod intelmq;
mod memory;
mod packing;
mod pattern;
mod report;
mod sources;
mod table;
mod value;
mod warning_list;

use std::ffi::{CString, c_char, c_int};
use std::panic::catch_unwind;
use std::sync::OnceLock;

// It is linked for what it brings along.
use libfuzzer_sys as _;

struct Target {
    name: &'static str,
    about: &'static str,
    /// In MiB: no input takes more memory than this.
    memory: usize,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

const TARGETS: &[Target] = &[
    Target { name: "csv", about: REPORT, memory: 64, run: |bytes| report::fuzz("csv", bytes), seeds: || report::seeds("csv") },
    Target { name: "json", about: REPORT, memory: 64, run: |bytes| report::fuzz("json", bytes), seeds: || report::seeds("json") },
    Target { name: "jsonl", about: REPORT, memory: 64, run: |bytes| report::fuzz("jsonl", bytes), seeds: || report::seeds("jsonl") },
    Target {
        name: "json_row",
        about: "a row of JSON is the same whichever way it is read",
        memory: 64,
        run: report::fuzz_row,
        seeds: report::row_seeds,
    },
    Target { name: "lines", about: REPORT, memory: 64, run: |bytes| report::fuzz("lines", bytes), seeds: || report::seeds("lines") },
    Target { name: "xml", about: REPORT, memory: 64, run: |bytes| report::fuzz("xml", bytes), seeds: || report::seeds("xml") },
    Target { name: "html", about: REPORT, memory: 64, run: |bytes| report::fuzz("html", bytes), seeds: || report::seeds("html") },
    Target { name: "pairs", about: REPORT, memory: 64, run: |bytes| report::fuzz("pairs", bytes), seeds: || report::seeds("pairs") },
    Target { name: "prose", about: REPORT, memory: 64, run: |bytes| report::fuzz("prose", bytes), seeds: || report::seeds("prose") },
    Target { name: "misp", about: REPORT, memory: 64, run: |bytes| report::fuzz("misp", bytes), seeds: || report::seeds("misp") },
    Target { name: "stix", about: REPORT, memory: 64, run: |bytes| report::fuzz("stix", bytes), seeds: || report::seeds("stix") },
    Target {
        name: "table",
        about: "a feed's table, and then its provider's feed read by it",
        memory: 128,
        run: table::fuzz,
        seeds: table::seeds,
    },
    Target {
        name: "draft",
        about: "a table drafted for a delivery can be read",
        memory: 128,
        run: table::fuzz_draft,
        seeds: report::all_seeds,
    },
    Target {
        name: "schema",
        about: "tables made of a vendor's document can be read",
        memory: 256,
        run: table::fuzz_schema,
        seeds: table::schema_seeds,
    },
    Target { name: "intelmq", about: "events as IntelMQ's JSON, and back", memory: 64, run: intelmq::fuzz, seeds: report::all_seeds },
    Target {
        name: "value",
        about: "cells that become values, which are canonical then",
        memory: 16,
        run: value::fuzz,
        seeds: value::seeds,
    },
    Target { name: "time", about: "times and spans, and back", memory: 16, run: value::fuzz_time, seeds: value::time_seeds },
    Target { name: "pattern", about: "a STIX pattern, and back", memory: 64, run: pattern::fuzz, seeds: pattern::seeds },
    Target {
        name: "warning_list",
        about: "a warning list, and a value held against it",
        memory: 256,
        run: warning_list::fuzz,
        seeds: warning_list::seeds,
    },
    Target {
        name: "addresses",
        about: "a table of addresses in the MMDB format",
        memory: 64,
        run: addresses::fuzz,
        seeds: addresses::seeds,
    },
    Target { name: "packing", about: "a delivery in archives and packings", memory: 256, run: packing::fuzz, seeds: packing::seeds },
    Target { name: "mail", about: "a mail, its parts and addresses", memory: 64, run: sources::mail::fuzz, seeds: sources::mail::seeds },
    Target { name: "imap", about: "what an IMAP server says", memory: 64, run: sources::imap::fuzz, seeds: sources::imap::seeds },
];

/// What all shapes promise.
const REPORT: &str = "a report, whatever the edges of its blocks, and what becomes of each of its lines";

static CHOSEN: OnceLock<&Target> = OnceLock::new();

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(count: *mut c_int, arguments: *mut *mut *mut c_char, run: extern "C" fn(*const u8, usize) -> c_int) -> c_int;
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => TARGETS.iter().for_each(|target| println!("{}\t{}", target.name, target.about)),
        ["seeds", folder] => {
            for target in TARGETS {
                let folder = std::path::Path::new(folder).join(target.name);
                std::fs::create_dir_all(&folder).expect("a folder can be made there");
                for (place, seed) in (target.seeds)().into_iter().enumerate() {
                    std::fs::write(folder.join(format!("{place:04}")), seed).expect("a file can be written there");
                }
            }
        }
        [name, ..] => {
            let Some(target) = TARGETS.iter().find(|target| target.name == *name) else {
                eprintln!("there is no target \"{name}\"");
                std::process::exit(2);
            };
            CHOSEN.get_or_init(|| target);
            std::process::exit(run(&arguments));
        }
    }
}

/// Lets libFuzzer run; the first argument stands where a program's name does.
fn run(arguments: &[String]) -> i32 {
    let owned: Vec<CString> = arguments.iter().map(|argument| CString::new(argument.as_str()).expect("no zero")).collect();
    let mut pointers: Vec<*mut c_char> = owned.iter().map(|argument| argument.as_ptr().cast_mut()).chain([std::ptr::null_mut()]).collect();
    let (mut count, mut first) = (owned.len() as c_int, pointers.as_mut_ptr());
    // SAFETY: what `main` of a C program is given, which lives until the end of this function.
    unsafe { LLVMFuzzerRunDriver(&mut count, &mut first, one) }
}

extern "C" fn one(bytes: *const u8, length: usize) -> c_int {
    let bytes = match length {
        0 => &[],
        // SAFETY: libFuzzer's own, for as long as this call.
        _ => unsafe { std::slice::from_raw_parts(bytes, length) },
    };
    let target = CHOSEN.get().expect("chosen before libFuzzer starts");
    // What is read once and for all is not this input's.
    report::catalog();
    memory::within(target.memory << 20, || {
        if catch_unwind(|| (target.run)(bytes)).is_err() {
            std::process::abort();
        }
    });
    0
}

/// The library asks for it, and its own entry is not taken.
#[unsafe(no_mangle)]
extern "C" fn rust_fuzzer_test_input(_bytes: *const u8, _length: usize) -> c_int {
    0
}
