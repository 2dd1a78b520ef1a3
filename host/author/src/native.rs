//! A skill that is not compiled: its folder is its package, file by file, as it is.

use crate::{AuthorError, files};
use sophon_skill::{ArchiveLimits, Manifest, Package, PackageError, Runtime, pack};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What tools leave in a folder and nobody means to publish.
const LEFT_OUT: [&str; 4] = ["__pycache__", "node_modules", "venv", "target"];
/// Folders within folders.
const MAX_DEPTH: usize = 16;

/// Packs a folder whose `manifest.json` names another runtime than wasm. Hidden files, caches, packages and signatures
/// are left out; everything else goes in unchanged.
///
/// # Errors
/// [`AuthorError`]; [`AuthorError::NotBuilt`] where the folder holds the source of a component.
pub fn pack_folder(dir: &Path) -> Result<Package, AuthorError> {
    let manifest = dir.join("manifest.json");
    if !manifest.is_file() {
        return Err(AuthorError::NoManifest { dir: dir.to_owned() });
    }
    let manifest = Manifest::parse(&files::read(&manifest, ArchiveLimits::default().file_bytes)?)?;
    if manifest.runtime == Runtime::Wasm {
        return Err(AuthorError::NotBuilt { skill: manifest.name, dir: dir.to_owned() });
    }
    let mut found = BTreeMap::new();
    gather(dir, "", 0, &mut found)?;
    Ok(Package::read(pack(&found).map_err(PackageError::Archive)?)?)
}

/// Whether the folder holds a skill that is packed as it is.
pub(crate) fn is_native(dir: &Path) -> Result<bool, AuthorError> {
    let Some(bytes) = files::read_if_there(&dir.join("manifest.json"))? else { return Ok(false) };
    // What is wrong with it is said by whoever reads it for good.
    Ok(Manifest::parse(&bytes).is_ok_and(|manifest| manifest.runtime != Runtime::Wasm))
}

fn gather(dir: &Path, prefix: &str, depth: usize, found: &mut BTreeMap<String, Vec<u8>>) -> Result<(), AuthorError> {
    let limits = ArchiveLimits::default();
    let refused = |source| AuthorError::Io { action: "cannot be read", path: dir.to_owned(), source };
    let unfit = |path: &Path, why| AuthorError::UnfitFile { path: path.to_owned(), why };
    if depth > MAX_DEPTH {
        return Err(unfit(dir, "the folders stand too deep within one another"));
    }
    for entry in fs::read_dir(dir).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { return Err(unfit(&path, "its name is not UTF-8")) };
        let is_package = name.contains(".sophon-skill");
        if name.starts_with('.') || LEFT_OUT.contains(&name.as_str()) || is_package {
            continue;
        }
        let kind = entry.file_type().map_err(refused)?;
        let inside = format!("{prefix}{name}");
        if kind.is_dir() {
            gather(&path, &format!("{inside}/"), depth + 1, found)?;
        } else if kind.is_file() {
            if found.len() == limits.entries {
                return Err(unfit(dir, "there are more files than a package may have"));
            }
            found.insert(inside, files::read(&path, limits.file_bytes)?);
        } else {
            return Err(unfit(&path, "it is neither a file nor a folder (a link?)"));
        }
    }
    Ok(())
}
