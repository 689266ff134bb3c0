//! What the operator takes of the machine, under the names that all Prometheus clients use.

use std::fmt;

use procfs::process::{LimitValue, Process as Own};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Reads `/proc/self` whenever Prometheus asks. Where there is none, there are no such metrics.
#[derive(Debug)]
pub(super) struct Process;

#[derive(Debug)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    threads: f64,
    open_fds: f64,
    max_fds: f64,
    start_seconds: f64,
}

fn usage() -> procfs::ProcResult<Usage> {
    let own = Own::myself()?;
    let stat = own.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    let max_fds = match own.limits()?.max_open_files.soft_limit {
        LimitValue::Value(most) => most as f64,
        LimitValue::Unlimited => f64::INFINITY,
    };
    Ok(Usage {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        resident_bytes: (stat.rss * procfs::page_size()) as f64,
        virtual_bytes: stat.vsize as f64,
        threads: stat.num_threads as f64,
        open_fds: own.fd_count()? as f64,
        max_fds,
        start_seconds: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
    })
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(usage) = usage() else { return Ok(()) };
        let cpu = ConstCounter::new(usage.cpu_seconds);
        let name = "process_cpu_seconds";
        cpu.encode(encoder.encode_descriptor(
            name,
            "Processor time spent, user and system.",
            None,
            cpu.metric_type(),
        )?)?;
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Memory in use.",
                usage.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Address space in use.",
                usage.virtual_bytes,
            ),
            ("process_threads", "Threads of the process.", usage.threads),
            ("process_open_fds", "Open file descriptors.", usage.open_fds),
            (
                "process_max_fds",
                "Most file descriptors that may be open.",
                usage.max_fds,
            ),
            (
                "process_start_time_seconds",
                "When the process started, since 1970.",
                usage.start_seconds,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_size_and_its_start() {
        let usage = usage().unwrap();
        assert!(
            usage.resident_bytes > 1e6 && usage.resident_bytes < usage.virtual_bytes,
            "{usage:?}"
        );
        assert!(
            usage.open_fds >= 3.0 && usage.open_fds < usage.max_fds,
            "{usage:?}"
        );
        let now = super::super::seconds(std::time::SystemTime::now());
        assert!(
            usage.start_seconds > now - 3600.0 && usage.start_seconds < now + 2.0,
            "{usage:?}"
        );
    }
}
