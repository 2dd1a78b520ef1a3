//! The `workspace` import: an empty folder for one call, over cap-std, with a quota, gone when the call ends.

use super::bindings::sophon::skill::workspace::{Entry, Host as Import, WorkspaceError};
use super::host::Host;
use cap_std::fs::{Dir, OpenOptions};
use cap_tempfile::TempDir;
use std::io::{self, Read, Write};
use std::path::{Component, Path};
use wasmtime::Result;

/// Levels of folders below the workspace.
const DEPTH: usize = 16;
/// Bytes of one name.
const NAME: usize = 255;

/// The folder, made at first use and removed on drop.
pub(super) struct Workspace {
    dir: TempDir,
    bytes: u64,
    files: u64,
}

impl Workspace {
    fn open() -> io::Result<Self> {
        let dir = cap_tempfile::tempdir(cap_std::ambient_authority())?;
        Ok(Self { dir, bytes: 0, files: 0 })
    }
}

impl Host {
    /// The folder and the quota (bytes, files).
    fn workspace(&mut self) -> Result<(&mut Workspace, u64, u64), WorkspaceError> {
        if self.workspace.is_none() {
            self.workspace = Some(Workspace::open().map_err(|error| failed(&error))?);
        }
        let (bytes, files) = (self.limits.workspace_bytes, self.limits.workspace_files);
        let workspace = self.workspace.as_mut().ok_or_else(|| WorkspaceError::Failed("no workspace".into()))?;
        Ok((workspace, bytes, files))
    }

    fn put(&mut self, path: &str, content: &[u8], mode: Mode) -> Result<(), WorkspaceError> {
        let path = relative(path)?;
        let (workspace, most_bytes, most_files) = self.workspace()?;
        let before = match workspace.dir.symlink_metadata(path) {
            Ok(found) if found.is_file() => Some(found.len()),
            Ok(_other) => return Err(WorkspaceError::WrongKind(path.display().to_string())),
            Err(_absent) => None,
        };
        let new = missing(&workspace.dir, path) + u64::from(before.is_none());
        if workspace.files + new > most_files {
            return Err(WorkspaceError::QuotaExceeded(most_files));
        }
        let kept = if matches!(mode, Mode::Append) { before.unwrap_or(0) } else { 0 };
        let total = workspace.bytes - before.unwrap_or(0) + kept + content.len() as u64;
        if total > most_bytes {
            return Err(WorkspaceError::QuotaExceeded(most_bytes));
        }
        // Counted before it is written: a write that breaks half-way must not leave uncounted bytes.
        workspace.bytes = total;
        workspace.files += new;
        if let Some(above) = path.parent() {
            workspace.dir.create_dir_all(above).map_err(|error| failed(&error))?;
        }
        let mut options = OpenOptions::new();
        match mode {
            Mode::Append => options.append(true).create(true),
            Mode::Replace => options.write(true).create(true).truncate(true),
        };
        let mut file = workspace.dir.open_with(path, &options).map_err(|error| failed(&error))?;
        file.write_all(content).map_err(|error| failed(&error))
    }

    fn get(&mut self, path: &str) -> Result<Vec<u8>, WorkspaceError> {
        let path = relative(path)?;
        let (workspace, most_bytes, _) = self.workspace()?;
        let file = workspace.dir.open(path).map_err(|error| missing_or(&error, path))?;
        if !file.metadata().map_err(|error| failed(&error))?.is_file() {
            return Err(WorkspaceError::WrongKind(path.display().to_string()));
        }
        let mut content = Vec::new();
        file.take(most_bytes).read_to_end(&mut content).map_err(|error| failed(&error))?;
        Ok(content)
    }

    fn entries(&mut self, path: &str) -> Result<Vec<Entry>, WorkspaceError> {
        let (workspace, ..) = self.workspace()?;
        let dir: &Dir = &workspace.dir;
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
        let (workspace, ..) = self.workspace()?;
        let found = workspace.dir.symlink_metadata(path).map_err(|error| missing_or(&error, path))?;
        if found.is_dir() {
            // Only empty folders, so that the count below stays right.
            workspace.dir.remove_dir(path).map_err(|error| failed(&error))?;
        } else {
            workspace.dir.remove_file(path).map_err(|error| failed(&error))?;
            workspace.bytes = workspace.bytes.saturating_sub(found.len());
        }
        workspace.files = workspace.files.saturating_sub(1);
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

impl Import for Host {
    fn read(&mut self, path: String) -> Result<Result<Vec<u8>, WorkspaceError>> {
        self.enter(path.len())?;
        Ok(self.get(&path))
    }

    fn write(&mut self, path: String, content: Vec<u8>) -> Result<Result<(), WorkspaceError>> {
        self.enter(path.len() + content.len())?;
        Ok(self.put(&path, &content, Mode::Replace))
    }

    fn append(&mut self, path: String, content: Vec<u8>) -> Result<Result<(), WorkspaceError>> {
        self.enter(path.len() + content.len())?;
        Ok(self.put(&path, &content, Mode::Append))
    }

    fn list(&mut self, path: String) -> Result<Result<Vec<Entry>, WorkspaceError>> {
        self.enter(path.len())?;
        Ok(self.entries(&path))
    }

    fn remove(&mut self, path: String) -> Result<Result<(), WorkspaceError>> {
        self.enter(path.len())?;
        Ok(self.erase(&path))
    }
}
