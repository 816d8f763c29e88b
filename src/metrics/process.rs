//! What this process uses of its machine, read from `/proc` (Linux); elsewhere the figures are zero.

use super::Metrics;

pub(super) fn register(metrics: &Metrics) {
    metrics.counter(
        "process_cpu_seconds",
        "User and system CPU time of this process.",
        || cpu_seconds().unwrap_or(0.0),
    );
    metrics.gauge(
        "process_resident_memory_bytes",
        "Memory of this process that is resident.",
        || resident_bytes().unwrap_or(0.0),
    );
    metrics.gauge(
        "process_open_fds",
        "Files and connections that this process has open.",
        || std::fs::read_dir("/proc/self/fd").map_or(0.0, |open| open.count() as f64),
    );
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may hold spaces and brackets; utime and stime are the 12th and 13th field behind it (proc(5)).
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Some(ticks / rustix::param::clock_ticks_per_second() as f64)
}

fn resident_bytes() -> Option<f64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as f64)
}
