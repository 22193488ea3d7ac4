//! How much memory a process has held at most, as the kernel counts it.

use crate::error::{Error, Result, tried};

/// Peak of the resident set of a process, in bytes.
pub(crate) fn peak(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = tried("read the server's memory", status)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Error::Server("the kernel tells no memory".into()))
}
