//! What `/metrics` shows. Labels are closed sets (route templates, methods, statuses): no client can add a series, and
//! nothing here names a tenant, a user or a tool.

use http::{Method, StatusCode};
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::fmt;
use std::time::Duration;

/// Upper bounds in seconds: from a cached answer to a call that somebody waits for.
const BOUNDS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0];
const REQUESTS: &str = "sophon_http_requests_total";
const SECONDS: &str = "sophon_http_request_seconds";
const CALLS: &str = "sophon_calls_total";
const CONNECTIONS: &str = "sophon_http_connections";
const ACCEPTED: &str = "sophon_http_connections_accepted_total";
const TURNED_AWAY: &str = "sophon_http_connections_refused_total";
const CUT: &str = "sophon_http_connections_cut_total";
const REFUSED: &str = "sophon_authn_refused_total";

/// The counters of one gateway. Its own, not the process's, so that several can live in one process.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // Only an empty list of bounds is an error; without them the histogram would become a summary.
        let builder = PrometheusBuilder::new();
        let recorder = match builder.set_buckets_for_metric(Matcher::Full(SECONDS.to_owned()), &BOUNDS) {
            Ok(builder) => builder.build_recorder(),
            Err(_no_bounds) => PrometheusBuilder::new().build_recorder(),
        };
        let handle = recorder.handle();
        let metrics = Self { recorder, handle };
        metrics.describe();
        metrics
    }

    fn describe(&self) {
        metrics::with_local_recorder(&self.recorder, || {
            metrics::describe_counter!(REQUESTS, "Requests answered, by route, method and status.");
            metrics::describe_histogram!(SECONDS, "Seconds until the answer began, by route.");
            metrics::describe_counter!(CALLS, "Calls of tools answered, by status.");
            metrics::describe_gauge!(CONNECTIONS, "Connections open at present.");
            metrics::describe_counter!(ACCEPTED, "Connections that were served, if only by waiting for a request.");
            metrics::describe_counter!(TURNED_AWAY, "Connections answered 503 for want of a place.");
            metrics::describe_counter!(CUT, "Connections closed, while of no use, to make room for others.");
            metrics::describe_counter!(REFUSED, "Requests without a valid key.");
        });
    }

    /// A request was answered. `route` is a template, or `none`.
    pub(crate) fn answered(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let method = match method.as_str() {
            known @ ("GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "PATCH") => known.to_owned(),
            _ => "other".to_owned(),
        };
        metrics::with_local_recorder(&self.recorder, || {
            counter!(REQUESTS, "route" => route.to_owned(), "method" => method, "status" => status.as_str().to_owned())
                .increment(1);
            histogram!(SECONDS, "route" => route.to_owned()).record(took.as_secs_f64());
        });
    }

    /// A call was answered with this status.
    pub(crate) fn called(&self, status: String) {
        metrics::with_local_recorder(&self.recorder, || counter!(CALLS, "status" => status).increment(1));
    }

    /// A request had no valid key.
    pub(crate) fn refused(&self) {
        metrics::with_local_recorder(&self.recorder, || counter!(REFUSED).increment(1));
    }

    /// A connection was opened.
    pub(crate) fn connection_opened(&self) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!(ACCEPTED).increment(1);
            gauge!(CONNECTIONS).increment(1);
        });
    }

    /// A connection was closed.
    pub(crate) fn connection_closed(&self) {
        metrics::with_local_recorder(&self.recorder, || gauge!(CONNECTIONS).decrement(1));
    }

    /// A connection was answered 503: its address has as many as it may, or none can be spared for it.
    pub(crate) fn connection_refused(&self) {
        metrics::with_local_recorder(&self.recorder, || counter!(TURNED_AWAY).increment(1));
    }

    /// A connection was closed to make room for another.
    pub(crate) fn connection_cut(&self) {
        metrics::with_local_recorder(&self.recorder, || counter!(CUT).increment(1));
    }

    /// The text that Prometheus reads.
    pub(crate) fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
