//! Time for whatever runs on its own: what it is, and waiting for it. The program says what the clock is; a rehearsal's runs faster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use event::time::Micros;

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
        span.div_f64(self.speed)
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
