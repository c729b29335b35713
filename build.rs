//! Puts the shipped rules and lists into the binary: writes a table of (path, text) for
//! `src/rule/shipped.rs`, in the order of the paths, so that two builds of one tree are the same.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut table = String::from("&[\n");
    for path in yaml_files(&root.join("rules"))? {
        let name = path
            .strip_prefix(&root)
            .unwrap_or(&path)
            .display()
            .to_string();
        // Writing to a String succeeds.
        let _ = writeln!(table, "    ({name:?}, include_str!({:?})),", path.display());
    }
    table.push_str("]\n");
    println!("cargo::rerun-if-changed=rules");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("shipped_rules.rs"), table)
}

/// The rule and list files below a folder; not the cases, which only tests need.
fn yaml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yml")
                && !name.ends_with(".cases.yml")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
