//! What a server says about itself: lines on standard error, and metrics for Prometheus.

use super::settings::{Args, LogFormat};
use crate::exit::{Exit, Failure};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use spine_ingest::MetricsText;
use std::{
    error::Error,
    io::{self, IsTerminal},
    sync::Arc,
    thread,
    time::Duration,
};
use tracing_subscriber::EnvFilter;

/// Bounds of the buckets of everything that is measured in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// How long a histogram keeps single values: 8 bytes each, two or three of them a request.
const SUMMED_UP_EVERY: Duration = Duration::from_secs(1);

/// Sends the server's own log to standard error.
///
/// # Errors
/// When the level cannot be read.
pub(super) fn log_to_stderr(args: &Args) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&args.log_level).map_err(|error| {
        Failure::new(Exit::Usage, format!("--log-level {}: {error}", args.log_level))
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let set = match args.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    set.map_err(|error| Failure::new(Exit::Failed, format!("could not log to stderr: {error}")))
}

/// Collects metrics from now on; gives what renders them.
///
/// # Errors
/// When another recorder was installed, or there is no thread to be had.
pub(super) fn record_metrics() -> Result<MetricsText, Failure> {
    let failed = |error: &dyn Error| {
        Failure::new(Exit::Failed, format!("could not collect metrics: {error}"))
    };
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| failed(&error))?;
    let kept = handle.clone();
    thread::Builder::new()
        .name("metrics".into())
        .spawn(move || sum_up(&kept))
        .map_err(|error| failed(&error))?;
    Ok(Arc::new(move || handle.render()))
}

/// A histogram keeps each single value until it is summed up. A server that nobody scrapes would keep them for ever.
fn sum_up(metrics: &PrometheusHandle) -> ! {
    loop {
        thread::sleep(SUMMED_UP_EVERY);
        metrics.run_upkeep();
    }
}
