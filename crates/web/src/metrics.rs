//! `/metrics`: how feeds and sources do, in Prometheus's text format.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use desk::{Actor, Clock, Desk, Role};
use tokio::sync::{Mutex, watch};
use tracing::warn;

pub(crate) struct Metrics {
    desk: watch::Receiver<Arc<Desk>>,
    clock: Clock,
    /// What was found out last, and when. Who asks meanwhile waits, and hears the same.
    last: Mutex<Option<(Instant, String)>>,
}

/// However often somebody asks, the store is asked no more often.
const FRESH: Duration = Duration::from_secs(10);

impl Metrics {
    pub(crate) fn new(desk: watch::Receiver<Arc<Desk>>, clock: Clock) -> Metrics {
        Metrics { desk, clock, last: Mutex::default() }
    }

    async fn text(&self) -> anyhow::Result<String> {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(when, _)| when.elapsed() < FRESH) {
            return Ok(text.clone());
        }
        let desk = self.desk.borrow().clone();
        let now = self.clock.now();
        let text = desk.health(&Actor { name: "metrics".to_owned(), role: Role::Viewer }, now).await?.metrics(now);
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

pub(crate) async fn show(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            warn!(error = format!("{error:#}"), "metrics could not be found out");
            (StatusCode::INTERNAL_SERVER_ERROR, "the store could not be asked; the log says why\n").into_response()
        }
    }
}
