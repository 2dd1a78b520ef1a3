//! The `workspace` import: an empty folder for one call, over cap-std, with a quota, gone when the call ends.
//!
//! Files block. So the workspace is lent to a thread that may block for each host call, and is removed on one; no worker
//! that other calls run on ever waits for a disk.

use super::bindings::sophon::skill::workspace::{Entry, Host as Import, WorkspaceError};
use super::host::Host;
use cap_std::fs::{Dir, OpenOptions, Permissions, PermissionsExt};
use cap_tempfile::TempDir;
use std::io::{self, Read, Write};
use std::path::{Component, Path};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use wasmtime::Result;

/// Levels of folders below the workspace.
const DEPTH: usize = 16;
/// Bytes of one name.
const NAME: usize = 255;

/// The folder, made at first use and removed on drop.
pub(super) struct Workspace {
    folder: Folder,
    bytes: u64,
    files: u64,
    most_bytes: u64,
    most_files: u64,
}

impl Workspace {
    fn open(root: Option<&Path>, most_bytes: u64, most_files: u64) -> io::Result<Self> {
        Ok(Self { folder: Folder::open(root)?, bytes: 0, files: 0, most_bytes, most_files })
    }

    /// Removes the folder, and is done when it is gone.
    pub(super) async fn remove(mut self) {
        if let Some(dir) = self.folder.0.take()
            && let Err(error) = spawn_blocking(move || remove(dir)).await
        {
            tracing::error!(%error, "a workspace was not removed");
        }
    }
}

/// Removed on drop, by a thread that may block.
struct Folder(Option<TempDir>);

impl Folder {
    fn open(root: Option<&Path>) -> io::Result<Self> {
        let authority = cap_std::ambient_authority();
        let dir = match root {
            None => TempDir::new(authority)?,
            Some(root) => {
                std::fs::create_dir_all(root)?;
                TempDir::new_in(&Dir::open_ambient_dir(root, authority)?)?
            }
        };
        // The folder above may be open to everybody on this machine.
        dir.set_permissions(".", Permissions::from_mode(0o700))?;
        Ok(Self(Some(dir)))
    }

    fn dir(&self) -> io::Result<&Dir> {
        self.0.as_deref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Some(dir) = self.0.take() else { return };
        match Handle::try_current() {
            // Not awaited: nobody is left who could.
            Ok(runtime) => drop(runtime.spawn_blocking(move || remove(dir))),
            Err(_no_runtime) => remove(dir),
        }
    }
}

fn remove(dir: TempDir) {
    if let Err(error) = dir.close() {
        tracing::error!(%error, "a workspace was not removed");
    }
}

/// Removes the workspaces below `root` that a run which ended badly has left, and says how many. Only folders with the
/// names that workspaces have are touched. Blocks.
///
/// Calls of another process that uses the same `root` lose theirs: give each runtime a root of its own, and sweep it
/// before the first call.
///
/// # Errors
/// Where `root` cannot be listed or a folder in it cannot be removed. A root that does not exist is none.
pub fn sweep_workspaces(root: &Path) -> io::Result<usize> {
    let dir = match Dir::open_ambient_dir(root, cap_std::ambient_authority()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let mut removed = 0;
    for entry in dir.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        // The type of the entry itself: a link to a folder elsewhere is no folder.
        if entry.file_type()?.is_dir() && name.to_str().is_some_and(is_workspace) {
            dir.remove_dir_all(&name)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// cap-tempfile names its folders with UUIDs: 36 characters, hexadecimal with four hyphens.
fn is_workspace(name: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    name.len() == 36 && name.bytes().enumerate().all(fits)
}

impl Workspace {
    fn put(&mut self, path: &str, content: &[u8], mode: Mode) -> Result<(), WorkspaceError> {
        let path = relative(path)?;
        let dir = self.folder.dir().map_err(|error| failed(&error))?;
        let before = match dir.symlink_metadata(path) {
            Ok(found) if found.is_file() => Some(found.len()),
            Ok(_other) => return Err(WorkspaceError::WrongKind(path.display().to_string())),
            Err(_absent) => None,
        };
        let new = missing(dir, path) + u64::from(before.is_none());
        if self.files + new > self.most_files {
            return Err(WorkspaceError::QuotaExceeded(self.most_files));
        }
        let kept = if matches!(mode, Mode::Append) { before.unwrap_or(0) } else { 0 };
        let total = self.bytes.saturating_sub(before.unwrap_or(0)) + kept + content.len() as u64;
        if total > self.most_bytes {
            return Err(WorkspaceError::QuotaExceeded(self.most_bytes));
        }
        // Counted before it is written: a write that breaks half-way must not leave uncounted bytes.
        self.bytes = total;
        self.files += new;
        if let Some(above) = path.parent() {
            dir.create_dir_all(above).map_err(|error| failed(&error))?;
        }
        let mut options = OpenOptions::new();
        match mode {
            Mode::Append => options.append(true).create(true),
            Mode::Replace => options.write(true).create(true).truncate(true),
        };
        let mut file = dir.open_with(path, &options).map_err(|error| failed(&error))?;
        file.write_all(content).map_err(|error| failed(&error))
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, WorkspaceError> {
        let path = relative(path)?;
        let dir = self.folder.dir().map_err(|error| failed(&error))?;
        let file = dir.open(path).map_err(|error| missing_or(&error, path))?;
        if !file.metadata().map_err(|error| failed(&error))?.is_file() {
            return Err(WorkspaceError::WrongKind(path.display().to_string()));
        }
        let mut content = Vec::new();
        file.take(self.most_bytes).read_to_end(&mut content).map_err(|error| failed(&error))?;
        Ok(content)
    }

    fn entries(&self, path: &str) -> Result<Vec<Entry>, WorkspaceError> {
        let dir = self.folder.dir().map_err(|error| failed(&error))?;
        let listed = if matches!(path, "" | ".") {
            dir.entries()
        } else {
            let path = relative(path)?;
            dir.read_dir(path).map_err(|error| missing_or(&error, path)).map(Ok)?
        };
        let mut entries = Vec::new();
        for entry in listed.map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let found = entry.metadata().map_err(|error| failed(&error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(Entry {
                name,
                directory: found.is_dir(),
                size: if found.is_file() { found.len() } else { 0 },
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn erase(&mut self, path: &str) -> Result<(), WorkspaceError> {
        let path = relative(path)?;
        let dir = self.folder.dir().map_err(|error| failed(&error))?;
        let found = dir.symlink_metadata(path).map_err(|error| missing_or(&error, path))?;
        if found.is_dir() {
            // Only empty folders, so that the count below stays right.
            dir.remove_dir(path).map_err(|error| failed(&error))?;
        } else {
            dir.remove_file(path).map_err(|error| failed(&error))?;
            self.bytes = self.bytes.saturating_sub(found.len());
        }
        self.files = self.files.saturating_sub(1);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Append,
    Replace,
}

/// A relative path of plain names. cap-std refuses to leave the folder anyway; this gives the clear error.
fn relative(path: &str) -> Result<&Path, WorkspaceError> {
    let refused = |why: &str| WorkspaceError::InvalidPath(format!("{path:?}: {why}"));
    if path.is_empty() || path.contains(['\0', '\\']) {
        return Err(refused("a path is names joined by /"));
    }
    let parsed = Path::new(path);
    let mut depth = 0;
    for component in parsed.components() {
        match component {
            Component::Normal(name) if name.len() <= NAME => depth += 1,
            Component::Normal(_) => return Err(refused("a name is longer than 255 bytes")),
            _ => return Err(refused("it must be relative and without . or ..")),
        }
    }
    if depth > DEPTH {
        return Err(refused("deeper than 16 folders"));
    }
    Ok(parsed)
}

/// How many folders above `path` are not there yet.
fn missing(dir: &Dir, path: &Path) -> u64 {
    path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty() && !dir.exists(above)).count() as u64
}

fn missing_or(error: &io::Error, path: &Path) -> WorkspaceError {
    match error.kind() {
        io::ErrorKind::NotFound => WorkspaceError::NotFound(path.display().to_string()),
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            WorkspaceError::WrongKind(path.display().to_string())
        }
        _ => failed(error),
    }
}

/// Only the kind of an I/O error: its text could name places of the host.
fn failed(error: &io::Error) -> WorkspaceError {
    WorkspaceError::Failed(error.kind().to_string())
}

impl Host {
    /// Lends the workspace to a thread that may block, for as long as `work` takes. Where the call ends in the
    /// meantime, the folder is removed there.
    pub(super) async fn in_workspace<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Workspace) -> Result<T, WorkspaceError> + Send + 'static,
    ) -> Result<T, WorkspaceError> {
        let (lent, root) = (self.workspace.take(), self.workspaces.clone());
        let (bytes, files) = (self.limits.workspace_bytes, self.limits.workspace_files);
        let done = spawn_blocking(move || {
            let opened = match lent {
                Some(workspace) => Ok(workspace),
                None => Workspace::open(root.as_deref(), bytes, files),
            };
            let mut workspace = opened.map_err(|error| failed(&error))?;
            let result = work(&mut workspace);
            Ok((workspace, result))
        });
        match done.await {
            Ok(Ok((workspace, result))) => {
                self.workspace = Some(workspace);
                result
            }
            Ok(Err(not_opened)) => Err(not_opened),
            Err(broken) => {
                tracing::error!(%broken, "a workspace is lost");
                Err(WorkspaceError::Failed("the host's workspace broke".into()))
            }
        }
    }
}

impl Import for Host {
    async fn read(&mut self, path: String) -> Result<Result<Vec<u8>, WorkspaceError>> {
        self.enter(path.len())?;
        let read = self.in_workspace(move |workspace| workspace.get(&path)).await;
        self.give(read.as_ref().map_or(0, Vec::len))?;
        Ok(read)
    }

    async fn write(&mut self, path: String, content: Vec<u8>) -> Result<Result<(), WorkspaceError>> {
        self.enter(path.len() + content.len())?;
        Ok(self.in_workspace(move |workspace| workspace.put(&path, &content, Mode::Replace)).await)
    }

    async fn append(&mut self, path: String, content: Vec<u8>) -> Result<Result<(), WorkspaceError>> {
        self.enter(path.len() + content.len())?;
        Ok(self.in_workspace(move |workspace| workspace.put(&path, &content, Mode::Append)).await)
    }

    async fn list(&mut self, path: String) -> Result<Result<Vec<Entry>, WorkspaceError>> {
        self.enter(path.len())?;
        let listed = self.in_workspace(move |workspace| workspace.entries(&path)).await;
        self.give(listed.iter().flatten().map(|entry| entry.name.len() + size_of::<Entry>()).sum())?;
        Ok(listed)
    }

    async fn remove(&mut self, path: String) -> Result<Result<(), WorkspaceError>> {
        self.enter(path.len())?;
        Ok(self.in_workspace(move |workspace| workspace.erase(&path)).await)
    }
}
