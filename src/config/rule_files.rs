//! Rule and list files from disk: a folder, or single files, as the layer above the shipped rules.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    diagnostic::SourceFile,
    rule::{Layer, shipped_rules},
};

/// The largest rule file; longer ones are no rules.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// How many files a folder of rules may hold.
const FILES_MAX: usize = 10_000;

/// Why rule files could not be read, in one sentence that says where and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RuleFilesError(String);

/// The rules and lists inside the binary.
pub fn shipped_layer() -> Layer {
    Layer::new(shipped_rules())
}

/// One folder or file. In a folder, files below a `lists` folder hold lists, `*.cases.yml` are
/// tests and left out, and the other `*.yml` and `*.yaml` files hold rules.
///
/// # Errors
/// When a folder or file cannot be read, or holds no rule file at all.
pub fn read_layer(path: &Path) -> Result<Layer, RuleFilesError> {
    let mut layer = Layer::default();
    for file in yaml_files(path, |name| !name.contains(".cases."))? {
        let text = read_text(&file)?;
        let source = Arc::new(SourceFile::new(file.display().to_string(), text));
        if is_list(&file) {
            layer.lists.push(source);
        } else {
            layer.rules.push(source);
        }
    }
    if layer.rules.is_empty() && layer.lists.is_empty() {
        return Err(RuleFilesError(format!(
            "{}: no rule here: rule files end with .yml or .yaml",
            path.display()
        )));
    }
    Ok(layer)
}

/// The case files (`*.cases.yml`) at or below a path, ordered by path.
///
/// # Errors
/// When a folder cannot be read.
pub fn case_files(path: &Path) -> Result<Vec<PathBuf>, RuleFilesError> {
    yaml_files(path, |name| name.contains(".cases."))
}

/// Reads a rule, list, case or configuration file.
///
/// # Errors
/// When it cannot be read, is too large or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, RuleFilesError> {
    let fail = |what: String| RuleFilesError(format!("{}: {what}", path.display()));
    let size = fs::metadata(path)
        .map_err(|error| fail(reason(&error)))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(fail(format!(
            "{size} bytes are too many for a YAML file of rules or settings"
        )));
    }
    let bytes = fs::read(path).map_err(|error| fail(reason(&error)))?;
    String::from_utf8(bytes).map_err(|_| fail("not a text file: it is not UTF-8".to_owned()))
}

fn is_list(path: &Path) -> bool {
    path.parent()
        .is_some_and(|folder| folder.ends_with("lists"))
}

fn yaml_files(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, RuleFilesError> {
    let fail = |path: &Path, error: &io::Error| {
        RuleFilesError(format!("{}: {}", path.display(), reason(error)))
    };
    let metadata = fs::metadata(path).map_err(|error| fail(path, &error))?;
    if metadata.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| fail(&folder, &error))? {
            let entry = entry.map_err(|error| fail(&folder, &error))?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            // Mounted ConfigMaps keep their versions in hidden folders beside the links to them.
            if name.starts_with('.') {
                continue;
            }
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() {
                folders.push(path);
            } else if matches!(extension, Some("yml" | "yaml")) && wanted(&name) {
                files.push(path);
            }
        }
        if files.len() > FILES_MAX {
            let what = format!("more than {FILES_MAX} rule files; name a smaller folder");
            return Err(RuleFilesError(format!("{}: {what}", path.display())));
        }
    }
    files.sort();
    Ok(files)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied: let this user read it".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_rules_and_lists_in_order() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/lists")).unwrap();
        fs::create_dir_all(folder.path().join(".old")).unwrap();
        for name in [
            "z.yml",
            "b/a.yaml",
            "b/a.cases.yml",
            "b/lists/l.yml",
            ".old/x.yml",
            "n.txt",
        ] {
            fs::write(folder.path().join(name), "a: 1").unwrap();
        }
        let layer = read_layer(folder.path()).unwrap();
        let names = |files: &[Arc<SourceFile>]| -> Vec<String> {
            let root = format!("{}/", folder.path().display());
            files
                .iter()
                .map(|file| file.name.replace(&root, ""))
                .collect()
        };
        assert_eq!(names(&layer.rules), ["b/a.yaml", "z.yml"]);
        assert_eq!(names(&layer.lists), ["b/lists/l.yml"]);
        assert_eq!(case_files(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn says_what_is_wrong_with_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_layer(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no rule here"), "{error}");
        let error = read_layer(&folder.path().join("gone"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("gone: no such file or folder"), "{error}");
        fs::write(folder.path().join("bad.yml"), [0xff, 0xfe]).unwrap();
        let error = read_layer(folder.path()).unwrap_err().to_string();
        assert!(error.contains("bad.yml: not a text file"), "{error}");
    }
}
