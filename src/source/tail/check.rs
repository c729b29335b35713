//! Whether a path can be followed at all, and what to do when it cannot.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    disk::{Local, is_absence},
    held::HeldFile,
    pattern,
    watch::directory_of,
};

/// What is wrong with a path that cannot be watched, and what to do.
pub(super) fn check(path: &str) -> Result<(), String> {
    if pattern::is_pattern(path) {
        glob::Pattern::new(path).map_err(|error| format!("the pattern is wrong: {error}"))?;
        return check_directory(&pattern::fixed_part(path));
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(format!(
            "it is a directory; name the file, or a pattern such as `{}/*.log`",
            path.trim_end_matches('/')
        )),
        Ok(metadata) if !metadata.is_file() => {
            Err("it is not a regular file, so there is nothing to follow".to_owned())
        }
        Ok(_) => HeldFile::open(&Local, Path::new(path))
            .map(drop)
            .map_err(|error| advice(&error)),
        Err(error) if is_absence(&error) => {
            let directory = directory_of(Path::new(path)).unwrap_or_else(|| PathBuf::from("/"));
            check_directory(&directory)
        }
        Err(error) => Err(advice(&error)),
    }
}

fn check_directory(directory: &Path) -> Result<(), String> {
    let name = directory.display();
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(format!("`{name}` is not a directory")),
        Err(error) if is_absence(&error) => Err(format!(
            "the directory `{name}` does not exist; the path to give is that of the API server's \
             --audit-log-path (the file itself may appear later)"
        )),
        Err(error) => Err(advice(&error)),
    }
}

/// What to do about an error of the system.
pub(super) fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied; the API server writes its audit \
             log for root alone, so run as root, with CAP_DAC_READ_SEARCH, or give this user \
             access to the directory and the file"
            .to_owned(),
        _ => error.to_string(),
    }
}
