//! Owns the registry that one app serves at `/metrics`.

use std::sync::{Mutex, PoisonError};

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result, TextEncoder, core::Collector,
};

use super::catalogue::{self, Metric};

/// Buckets of delays in seconds: live use is under a second, a webhook's batches take up to half
/// a minute, its retries up to four.
const DELAY_BUCKETS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 3600.0,
];

/// Buckets of work in seconds: an fsync takes milliseconds, a full state parts of a second.
const WORK_BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

type Refresh = Box<dyn Fn() + Send + Sync>;

/// One app's metrics. Entries of the [`catalogue`] are registered once each.
pub struct Metrics {
    registry: Registry,
    /// Held while numbers that must agree are changed, and while all are read.
    together: Mutex<()>,
    refreshes: Mutex<Vec<Refresh>>,
}

impl Metrics {
    /// An empty registry with build and process information.
    ///
    /// # Errors
    /// When the Prometheus library refuses a name; tests see to it that it does not.
    pub fn new() -> Result<Self> {
        let metrics = Self {
            registry: Registry::new(),
            together: Mutex::new(()),
            refreshes: Mutex::new(Vec::new()),
        };
        let build = metrics.gauges(&catalogue::BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        metrics.registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(metrics)
    }

    /// Where components that bring their own collectors register them.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Registers a counter without labels.
    pub fn counter(&self, metric: &Metric) -> Result<IntCounter> {
        self.keep(IntCounter::with_opts(options(metric))?)
    }

    /// Registers a counter with labels. Whoever registers it also sets up its known label values.
    pub fn counters(&self, metric: &Metric) -> Result<IntCounterVec> {
        self.keep(IntCounterVec::new(options(metric), metric.labels)?)
    }

    /// Registers a gauge without labels.
    pub fn gauge(&self, metric: &Metric) -> Result<IntGauge> {
        self.keep(IntGauge::with_opts(options(metric))?)
    }

    /// Registers a gauge with labels.
    pub fn gauges(&self, metric: &Metric) -> Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(options(metric), metric.labels)?)
    }

    /// Registers a histogram of seconds.
    pub fn delays(&self, metric: &Metric) -> Result<Histogram> {
        self.histogram(metric, &DELAY_BUCKETS)
    }

    /// Registers a histogram with buckets of its own: their upper ends, ascending.
    pub fn histogram(&self, metric: &Metric, buckets: &[f64]) -> Result<Histogram> {
        let options = HistogramOpts::from(options(metric)).buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(options)?)
    }

    /// Registers a histogram of seconds that work on this machine takes.
    pub fn durations(&self, metric: &Metric) -> Result<Histogram> {
        let options = HistogramOpts::from(options(metric)).buckets(WORK_BUCKETS.to_vec());
        self.keep(Histogram::with_opts(options)?)
    }

    fn keep<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    /// Changes several numbers so that no scrape sees only some of them changed.
    pub fn together<R>(&self, change: impl FnOnce() -> R) -> R {
        let _held = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        change()
    }

    /// Calls `refresh` before each scrape, for gauges that are cheaper to ask than to keep.
    pub fn on_scrape(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.refreshes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(refresh));
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// When the Prometheus library cannot print a metric.
    pub fn render(&self) -> Result<String> {
        for refresh in self
            .refreshes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            refresh();
        }
        let families = self.together(|| self.registry.gather());
        TextEncoder::new().encode_to_string(&families)
    }
}

fn options(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_is_registered() {
        let metrics = Metrics::new().unwrap();
        metrics
            .counter(&catalogue::EVENTS_RECEIVED)
            .unwrap()
            .inc_by(7);
        let rejected = metrics.counters(&catalogue::EVENTS_REJECTED).unwrap();
        rejected.with_label_values(&["torn"]).inc_by(0);
        let text = metrics.render().unwrap();
        assert!(
            text.contains("auditwatch_events_received_total 7\n"),
            "{text}"
        );
        assert!(
            text.contains("auditwatch_events_rejected_total{reason=\"torn\"} 0\n"),
            "{text}"
        );
        assert!(text.contains("auditwatch_build_info{version="), "{text}");
    }

    #[test]
    fn two_apps_do_not_meet_and_one_app_registers_once() {
        let (one, two) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        one.counter(&catalogue::EVENTS_RECEIVED).unwrap().inc();
        two.counter(&catalogue::EVENTS_RECEIVED).unwrap();
        assert!(
            two.render()
                .unwrap()
                .contains("auditwatch_events_received_total 0\n")
        );
        assert!(one.counter(&catalogue::EVENTS_RECEIVED).is_err());
    }
}
