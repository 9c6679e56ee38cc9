//! The one place that reads the clock: everything else takes the time as an argument.

use event::time::Micros;

/// Now, in microseconds since 1970, UTC.
#[expect(clippy::disallowed_methods, reason = "time enters the program here")]
pub(crate) fn now() -> Micros {
    chrono::Utc::now().timestamp_micros()
}

/// The clock of the program that runs by itself. A rehearsal sets `WAGLAN_CLOCK` to `REAL/TIME/SPEED`: at the real time REAL (both
/// in microseconds since 1970) it is TIME, and from there on the clock runs SPEED times as fast.
pub(crate) fn clock() -> anyhow::Result<desk::Clock> {
    let Some(rehearsal) = std::env::var_os("WAGLAN_CLOCK") else { return Ok(desk::Clock::new(now, 1.0)) };
    let text = rehearsal.to_string_lossy();
    let read = || {
        let mut parts = text.split('/');
        let (real, time): (Micros, Micros) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let speed: f64 = parts.next()?.parse().ok().filter(|speed| *speed > 0.0)?;
        Some(desk::Clock::new(move || time + ((now() - real) as f64 * speed) as Micros, speed))
    };
    read().ok_or_else(|| anyhow::anyhow!("WAGLAN_CLOCK is \"{text}\", and should be REAL/TIME/SPEED"))
}
