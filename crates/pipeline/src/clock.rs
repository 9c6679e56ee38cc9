//! Time for whatever runs on its own: what it is, and waiting for it. The program says what the clock is; a rehearsal's runs faster.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use event::time::Micros;

/// Whoever waits for longer waits for ever: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// From 0 to 1, by what it is for: so that those who would all come at once come one after another.
pub(crate) fn chance(of: impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Micros + Send + Sync>,
    /// How many of its seconds pass in one.
    speed: f64,
}

impl Clock {
    pub fn new(now: impl Fn() -> Micros + Send + Sync + 'static, speed: f64) -> Clock {
        Clock { now: Arc::new(now), speed }
    }

    pub fn now(&self) -> Micros {
        (self.now)()
    }

    /// How long one waits for so much of its time.
    pub fn real(&self, span: Duration) -> Duration {
        Duration::try_from_secs_f64(span.as_secs_f64() / self.speed).unwrap_or(LONGEST).min(LONGEST)
    }

    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(self.real(span)).await;
    }

    pub async fn sleep_until(&self, time: Micros) {
        let left = u64::try_from(time - self.now()).unwrap_or_default();
        self.sleep(Duration::from_micros(left)).await;
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Clock").field("speed", &self.speed).finish_non_exhaustive()
    }
}
