//! What the program says over HTTP, through the desk. So far that is how it does, for those who watch over programs.

mod metrics;

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use desk::{Clock, Desk};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::metrics::Metrics;

/// Answers until it is dropped. The desk may change: each answer is of the one that is there then.
pub async fn serve(listener: TcpListener, desk: watch::Receiver<Arc<Desk>>, clock: Clock) -> Result<()> {
    let metrics = Arc::new(Metrics::new(desk, clock));
    let routes = Router::new().route("/metrics", get(metrics::show)).with_state(metrics);
    axum::serve(listener, routes).await.context("answering over HTTP")
}
