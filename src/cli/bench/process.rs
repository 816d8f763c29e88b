//! Other processes: what they have used, read from `/proc` (Linux), and that they come second.

use anyhow::Context as _;
use rustix::process::{Pid, setpriority_process};

/// How nice the measured are to the one who measures: the simulator has to write down each request when it comes, and not when
/// it gets round to it.
const NICENESS: i32 = 10;

/// Used by one process so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// User and system time in milliseconds.
    pub(super) cpu_ms: f64,
    /// The most memory it had resident, in MiB.
    pub(super) peak_mib: f64,
    /// The memory it has resident now, in MiB.
    pub(super) resident_mib: f64,
}

/// The fields of `/proc/PID/stat` after the command's name (proc(5)), from the third on.
fn stat(pid: u32) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .context("could not read /proc; bench needs Linux")?;
    let (_, fields) = text
        .rsplit_once(") ")
        .context("/proc/PID/stat has another form than expected")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String], places: &[usize]) -> f64 {
    // proc(5) counts from 1 and the first two fields are cut off.
    let ticks: f64 = places
        .iter()
        .filter_map(|place| fields.get(place - 3)?.parse::<f64>().ok())
        .sum();
    ticks * 1_000.0 / rustix::param::clock_ticks_per_second() as f64
}

/// What the process has used.
pub(super) fn used(pid: u32) -> anyhow::Result<Used> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .context("could not read /proc/PID/status")?;
    let mib = |name: &str| {
        let kib = status.lines().find_map(|line| {
            line.strip_prefix(name)?
                .trim()
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        });
        kib.unwrap_or(0.0) / 1_024.0
    };
    Ok(Used {
        cpu_ms: ticks(&stat(pid)?, &[14, 15]),
        peak_mib: mib("VmHWM:"),
        resident_mib: mib("VmRSS:"),
    })
}

/// What a server and all its children have used, those that have ended included.
pub(super) fn family_cpu_ms(parent: u32) -> anyhow::Result<f64> {
    let mut total = ticks(&stat(parent)?, &[14, 15, 16, 17]);
    for entry in std::fs::read_dir("/proc")
        .context("could not read /proc")?
        .flatten()
    {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process may end while we look.
        let Ok(fields) = stat(pid) else { continue };
        if fields.get(1).and_then(|field| field.parse::<u32>().ok()) == Some(parent) {
            total += ticks(&fields, &[14, 15]);
        }
    }
    Ok(total)
}

/// Lets a process, and what it starts from now on, come second.
pub(super) fn comes_second(pid: u32) -> anyhow::Result<()> {
    let pid = Pid::from_raw(pid.try_into()?).context("a process id")?;
    setpriority_process(Some(pid), NICENESS).context("could not set a priority")
}
