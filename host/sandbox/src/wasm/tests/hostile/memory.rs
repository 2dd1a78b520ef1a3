//! The memory of this process, as the kernel counts it.

/// Bytes of this process that are in memory.
pub(super) fn resident() -> usize {
    status("VmRSS:")
}

/// The most bytes of this process that were in memory while `work` went on.
pub(super) async fn peak<T>(work: impl Future<Output = T>) -> (T, usize) {
    // Sets the peak back to what is resident now (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let done = work.await;
    (done, status("VmHWM:"))
}

fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("no {field}"));
    let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}
