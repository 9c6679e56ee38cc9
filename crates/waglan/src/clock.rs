//! The one place that reads the clock: everything else takes the time as an argument.

use event::time::Micros;

/// Now, in microseconds since 1970, UTC.
#[expect(clippy::disallowed_methods, reason = "time enters the program here")]
pub(crate) fn now() -> Micros {
    chrono::Utc::now().timestamp_micros()
}
