//! The files of a skill's requirements on this host's disk, where the sandboxes of that skill see them, read-only.
//!
//! Written anew by each process out of bytes whose digests were just compared, under a name that nothing else has, and removed
//! when the skill is let go: there is nothing on the disk that is trusted because it was there already.

use super::engine::Shown;
use sophon_skill::Layer;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where they are, inside.
const INSIDE: &str = "/requirements";

/// So that no two have one name.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Requirements that lie on the disk. Dropping it removes them.
#[derive(Debug)]
pub(super) struct Laid {
    folder: PathBuf,
}

impl Laid {
    /// Writes them below `folder`. Blocks.
    pub(super) fn lay(folder: &Path, layer: &Layer) -> io::Result<Self> {
        // The folder is this user's alone; what is shown inside of a sandbox is what is below.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let name = format!("{}-{}", layer.digest().to_hex(), NEXT.fetch_add(1, Ordering::Relaxed));
        let laid = Self { folder: folder.join(name) };
        fs::create_dir(&laid.folder)?;
        for (path, content) in layer.files() {
            let path = laid.folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create_new(&path)?.write_all(content)?;
        }
        open_to_read(&laid.folder)?;
        Ok(laid)
    }

    /// As the engine is told of it.
    pub(super) fn shown(&self) -> Shown {
        Shown { file: self.folder.display().to_string(), at: INSIDE }
    }
}

/// The user of a sandbox is nobody, whatever this process lets others see of the files that it makes.
fn open_to_read(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_to_read(&entry.path())?;
        } else {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o444))?;
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

impl Drop for Laid {
    fn drop(&mut self) {
        let folder = std::mem::take(&mut self.folder);
        let remove = move || {
            if let Err(error) = fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "requirements are left to the next start");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_no_runtime) => remove(),
        }
    }
}

/// Removes what an earlier process left below `folder` when it was killed. To be called while nobody else uses it.
///
/// # Errors
/// What the system says.
pub fn sweep_requirements(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
