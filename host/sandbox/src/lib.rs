//! Where skills run. The only crate that knows wasmtime and the container engine.
//!
//! - [`WasmRuntime`] compiles a [`VerifiedPackage`](sophon_skill::VerifiedPackage) once into a [`PreparedSkill`] and runs
//!   every call of it in a fresh store and instance, within [`Limits`]: fuel, epochs, wall clock, memory summed over the
//!   store, tables, instances, handles, host calls and their bytes (those of WASI included), log lines, random bytes.
//! - [`WasmRuntime::run`] takes an [`ApprovedCall`](sophon_approval::ApprovedCall) and the audit's receipt that the intent
//!   is durable; nothing else runs. [`WasmRuntime::rehearse`] tries a skill out on recorded exchanges: a [`Rehearsal`]
//!   has no egress, no vault and no durable state at all.
//! - Components are compiled in a child process with limits ([`Worker`]), and compiled code is kept under the host's own
//!   MAC ([`CodeCache`]).
//! - [`ContainerRuntime`] runs native skills, each call in a sandbox of its own under gVisor ([`BoxLimits`]); where gVisor
//!   does not answer they are refused ([`Unavailable`]).
//! - What a skill can reach goes through the [`Doors`] that the caller opens for that one call.
//!
//! Promises: a store is thrown away after every call, whatever became of it; no host folder is ever preopened; what a
//! skill makes the host keep is bounded; traps, fuel, time and memory exhaustion are told apart.

mod compile;
mod confine;
mod container;
mod doors;
mod error;
mod inside;
mod limits;
mod lines;
mod rehearsal;
mod shares;
mod tier;
mod wasm;

pub use compile::{CodeCache, Compilation, CompileLimits, Swept, Worker, compile_worker};
pub use confine::{Confinement, Needs, confine, folder_of, landlock_here};
pub use container::{
    BOX_TABLE, BoxLimits, BoxRow, BoxedComponent, ContainerConfig, ContainerFacts, ContainerRuntime, EngineFacts,
    ImageKind, InsideProgram, NativeSkill, Network, Unavailable, sweep_requirements,
};
pub use doors::{
    Access, Connection, Doors, HttpDoor, LogLevel, LogLine, MemoryState, Progress, ProgressListener, StateDoor,
    StateError, StoredState, TokenDoor,
};
pub use error::{RunFailure, SandboxError, ToolErrorKind};
pub use inside::component_worker;
pub use limits::{Limits, PoolLimits};
pub use rehearsal::{Exchange, RecordedAnswer, RecordedRequest, RecordedResponse, Rehearsal, RehearsalReport};
pub use shares::{all_but, tenant_share, user_share};
pub use sophon_egress::{Allowlist, Denial, HttpError};
pub use tier::{Tier, Tightening, tier};
pub use wasm::{PreparedSkill, RunReport, Usage, WasmRuntime, sweep_workspaces};
