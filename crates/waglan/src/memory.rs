//! The program's memory: what it keeps for itself, and when it gives back (docs/decisions/0008).

use std::sync::Once;
use std::time::Duration;

/// How often it is looked at how much the process holds.
const LOOK: Duration = Duration::from_millis(100);

/// Lets freed memory be used again rather than returned: a block of a report is a megabyte, and to ask the system for
/// each costs a tenth of the time in which a report is read. To be called before there are threads.
pub(crate) fn keep_what_is_freed() {
    allocator::keep_what_is_freed();
}

/// Returns freed memory to the system whenever the process holds much of so many bytes, from now on.
pub(crate) fn stay_within(limit: u64) {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let watch = std::thread::Builder::new().name("memory".to_owned()).spawn(move || watch(limit));
        if let Err(error) = watch {
            tracing::warn!(%error, "freed memory will not be returned to the system");
        }
    });
}

fn watch(limit: u64) {
    // What was left when memory was last returned is in use: to look for more of it soon would be in vain.
    let mut left = 0;
    while let Some(held) = held() {
        left = held.min(left);
        if held > (limit / 4 * 3).max(left + limit / 8) {
            allocator::give_back();
            left = self::held().unwrap_or(held);
        }
        std::thread::sleep(LOOK);
    }
}

/// What the process holds of the machine's memory, in bytes; None where the system does not say.
pub(crate) fn held() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    kilobytes.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "foreign functions of two numbers at most, which nobody has wrapped")]
mod allocator {
    /// The largest that the library takes.
    const KEPT: libc::c_int = 32 << 20;

    pub(super) fn keep_what_is_freed() {
        // SAFETY: both are known options with values in their range.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        }
    }

    pub(super) fn give_back() {
        // SAFETY: it may be called at any time and on any thread.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Other libraries have their own ways.
#[cfg(not(target_env = "gnu"))]
mod allocator {
    pub(super) fn keep_what_is_freed() {}

    pub(super) fn give_back() {}
}
