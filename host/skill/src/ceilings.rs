//! The most that any skill may have, whatever its manifest says: the sandbox sets up its pool for so much, and the analysis
//! refuses what could never run.

/// MiB of linear memory, all memories together: what the most open preset gives.
pub const MEMORY_MB: u32 = 256;
/// Elements of all tables together.
pub const TABLE_ELEMENTS: u32 = 20_000;
/// Core instances. A Python interpreter has about 31, a Rust program four.
pub const INSTANCES: u32 = 40;
/// Linear memories. Rust, Go and Python components have one; each composed part adds one.
pub const MEMORIES: u32 = 4;
/// Tables.
pub const TABLES: u32 = 20;
