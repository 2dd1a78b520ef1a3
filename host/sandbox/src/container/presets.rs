//! What one sandbox of a native skill may use: one table, each limit with its reason.
//!
//! These are the bounds that the kernel of the sandbox and the engine enforce. What the host counts itself (time, output,
//! requests) stands with the limits of every call, in [`Limits`](crate::Limits).

use super::ImageKind;
use sophon_skill::{Manifest, Preset};

const MIB: u64 = 1 << 20;

/// One limit, and what each preset has of it.
#[derive(Debug, Clone, Copy)]
pub struct BoxRow {
    /// What is limited.
    pub limit: &'static str,
    /// In what.
    pub unit: &'static str,
    /// `minimal`, `standard`, `restricted`, `locked-down`.
    pub values: [u64; 4],
    /// Why there is such a limit, and why it is not lower.
    pub reason: &'static str,
}

/// Every limit of a sandbox.
pub const BOX_TABLE: [BoxRow; 8] = [
    BoxRow {
        limit: "memory",
        unit: "MiB",
        values: [512, 256, 192, 128],
        reason: "all of the sandbox: the skill, its files in memory, and gVisor's own kernel, which takes 15 to 30 MiB; no \
                 swap, so that a full one ends at once",
    },
    BoxRow {
        limit: "cpu",
        unit: "thousandths of a core",
        values: [1000, 1000, 500, 500],
        reason: "a skill that computes without end slows nobody else down; the wall clock ends it",
    },
    BoxRow {
        limit: "processes",
        unit: "processes and threads of the skill's user",
        values: [32, 12, 6, 2],
        reason: "a fork bomb gets an error that it can report, before its interpreters (13 MiB each) fill the memory; two are the sandbox's first process and the skill itself, so \
                 a locked-down skill starts no other",
    },
    BoxRow {
        limit: "host tasks",
        unit: "threads of the host's kernel",
        values: [512, 512, 384, 256],
        reason: "gVisor's own threads count as well (29 when idle) and it dies without a word where it gets none: the limit \
                 above comes first, this one holds where gVisor's does not",
    },
    BoxRow {
        limit: "open files",
        unit: "descriptors of a process",
        values: [1024, 256, 128, 64],
        reason: "each is memory of the sandbox's kernel",
    },
    BoxRow {
        limit: "workspace",
        unit: "MiB in /tmp",
        values: [64, 64, 8, 0],
        reason: "ephemeral and in memory: gone with the call, never on the host's disk; nothing in it can be executed",
    },
    BoxRow {
        limit: "file size",
        unit: "MiB of one file",
        values: [64, 64, 8, 0],
        reason: "with none nothing can be written anywhere, the folder of the skill's own code included",
    },
    BoxRow {
        limit: "network",
        unit: "0 or 1: HTTP and HTTPS through egress",
        values: [1, 1, 1, 0],
        reason: "there is no network device in any; what goes out goes through egress, whatever it is",
    },
];

/// MiB for the skill's own files, in memory.
pub(super) const CODE_MIB: u64 = 32;

/// The limits of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BoxLimits {
    /// Bytes of memory.
    pub memory: u64,
    /// Thousandths of a core.
    pub cpu: u64,
    /// Processes and threads of the skill's user.
    pub processes: u64,
    /// Threads beside those, which what runs the skill needs for itself.
    pub runtime_threads: u64,
    /// Threads of the host's kernel.
    pub host_tasks: u64,
    /// Descriptors of a process.
    pub open_files: u64,
    /// Bytes in `/tmp`.
    pub workspace: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Whether HTTP and HTTPS go out through egress.
    pub network: Network,
}

/// Whether a sandbox has a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// Through egress.
    Egress,
    /// None at all.
    None,
}

impl BoxLimits {
    /// The limits of a preset.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        let column = match preset {
            Preset::Minimal => 0,
            Preset::Standard => 1,
            Preset::Restricted => 2,
            Preset::LockedDown => 3,
        };
        let [memory, cpu, processes, host_tasks, open_files, workspace, file_size, network] =
            BOX_TABLE.map(|row| row.values[column]);
        Self {
            memory: memory * MIB,
            cpu,
            processes,
            runtime_threads: 0,
            host_tasks,
            open_files,
            workspace: workspace * MIB,
            file_size: file_size * MIB,
            network: if network == 0 { Network::None } else { Network::Egress },
        }
    }

    /// The limits for a skill: those of its preset, with the memory that its manifest asks for, up to what `minimal` has.
    /// An interpreter does not start in less than 96 MiB.
    #[must_use]
    pub fn for_skill(manifest: &Manifest) -> Self {
        let mut limits = Self::of(manifest.sandbox.preset.unwrap_or(Preset::Standard));
        limits.runtime_threads = ImageKind::of(&manifest.runtime).map_or(0, ImageKind::threads);
        let asked = [manifest.permissions.max_memory_mb, manifest.sandbox.max_memory_mb];
        if let Some(mb) = asked.into_iter().flatten().min() {
            limits.memory = (u64::from(mb) * MIB).clamp(96 * MIB, Self::of(Preset::Minimal).memory);
        }
        limits
    }

    /// What the kernel bounds: processes and threads of the skill's user, those of what runs the skill among them.
    pub(super) const fn all_processes(&self) -> u64 {
        self.processes + self.runtime_threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_shows_the_table_of_presets() {
        let manual = include_str!("../../../../docs/manual/native-skills.md");
        for BoxRow { limit, unit, values: [minimal, standard, restricted, locked], reason } in BOX_TABLE {
            let row = format!("| {limit} ({unit}) | {minimal} | {standard} | {restricted} | {locked} | {reason} |\n");
            assert!(manual.contains(&row), "docs/manual/native-skills.md lacks: {row}");
        }
    }

    #[test]
    fn presets_of_sandboxes_only_close() {
        for row in BOX_TABLE {
            assert!(row.values.is_sorted_by(|open, closed| open >= closed), "{}: {:?}", row.limit, row.values);
            assert!(row.reason.len() > 20, "{}", row.limit);
        }
        let locked = BoxLimits::of(Preset::LockedDown);
        assert_eq!((locked.workspace, locked.file_size, locked.network), (0, 0, Network::None));
    }
}
