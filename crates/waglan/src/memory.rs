//! The program's memory: whose it is, and when it is given back (docs/decisions/0006).

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory back to the system after so many rows of reports.
#[derive(Debug, Default)]
pub(crate) struct GivenBack {
    rows: u64,
}

impl GivenBack {
    const ROWS: u64 = 400_000;

    /// What is long-lived lies scattered among what a report needed for a moment, and keeps its pages from being used again:
    /// a process that reads report after report would grow by some megabytes with each.
    pub(crate) fn after(&mut self, rows: u64) {
        self.rows += rows;
        if self.rows >= GivenBack::ROWS {
            self.rows = 0;
            collect();
        }
    }
}

#[expect(unsafe_code, reason = "a foreign function without arguments to get wrong; the allocator's crate has no safe name for it")]
fn collect() {
    // SAFETY: it may be called at any time and on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
