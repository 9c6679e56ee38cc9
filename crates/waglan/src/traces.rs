//! Traces of what the program does, for OpenTelemetry, where the environment names a collector as its specification says:
//! `OTEL_EXPORTER_OTLP_ENDPOINT` and its kin. Only our own spans go there.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// What is at work until it is told to end, and then sends what it has.
#[derive(Debug)]
pub(crate) struct Traces(SdkTracerProvider);

/// What sends them needs the runtime; what calls it is a thread beside that.
#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Handle,
}

impl SpanExporter for OnRuntime {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let sent = self.runtime.spawn(async move { exporter.export(spans).await }).await;
        // A program that ends takes its runtime along.
        let Ok(sent) = sent else { return Ok(()) };
        sent.inspect_err(|error| tracing::warn!(%error, "traces could not be sent"))
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

/// The rooms, whose spans are of interest; those of libraries are not.
const ROOMS: [&str; 5] = ["waglan", "desk", "pipeline", "store", "notify"];

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().split("::").next().is_some_and(|room| ROOMS.contains(&room))
}

/// Nothing, where the environment names no collector.
pub(crate) fn start<S: Subscriber + for<'a> LookupSpan<'a>>(runtime: &Handle) -> anyhow::Result<Option<(Traces, impl Layer<S> + use<S>)>> {
    let is_named = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"].iter().any(is_named) {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build()?;
    let exporter = OnRuntime { exporter: Arc::new(exporter), runtime: runtime.clone() };
    let mut resource = Resource::builder();
    if !is_named(&"OTEL_SERVICE_NAME") {
        resource = resource.with_service_name("waglan");
    }
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("waglan")).with_filter(filter_fn(is_ours));
    Ok(Some((Traces(provider), layer)))
}

/// So long a command that is done waits for the collector.
const AT_THE_END: Duration = Duration::from_secs(1);

impl Traces {
    /// Sends what is not sent yet.
    pub(crate) fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(AT_THE_END) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}
