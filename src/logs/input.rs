//! What `lux diagnose` was pointed at: files, directories, `-`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::record::Kind;
use crate::error::{Error, Result};

/// How deep directories are searched, and how many files are taken.
const DEPTH: usize = 8;
const FILES: usize = 10_000;

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub place: Place,
    /// As it is cited: in a named directory the path below it ("nginx/error.log"),
    /// else the path as it was named.
    pub name: String,
    /// What it holds, if the caller knows; else [`Kind::Auto`].
    pub kind: Kind,
    /// Bytes on disk (packed, for `.gz`); 0 where unknown.
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    File(PathBuf),
    Stdin,
}

/// What was found, and what was passed over and why.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub inputs: Vec<Input>,
    pub notes: Vec<String>,
}

/// Finds the files behind the paths; `-` is standard input. Of a directory all files
/// that may be logs are taken, rotated ones from the oldest to the newest; of
/// `journal.export`, `journal.json` and `journal.txt` in one directory, which are
/// forms of the same entries, only the first.
///
/// # Errors
/// A named path that does not exist or cannot be read (what is unreadable inside a
/// directory becomes a note).
pub fn expand(paths: &[impl AsRef<Path>]) -> Result<Inputs> {
    let mut found = Inputs::default();
    for path in paths {
        let path = path.as_ref();
        if path.as_os_str() == "-" {
            let (place, name) = (Place::Stdin, "stdin".to_owned());
            if found.inputs.iter().all(|input| input.place != Place::Stdin) {
                found.inputs.push(Input { place, name, kind: Kind::Auto, size: 0 });
            }
            continue;
        }
        let failed = |error: io::Error| {
            Error::invalid(format!("{} cannot be read: {error}", path.display()))
        };
        let data = fs::metadata(path).map_err(failed)?;
        if data.is_dir() {
            let root = if paths.len() > 1 { Path::new("") } else { path };
            let mut files = Vec::new();
            fs::read_dir(path).map_err(failed)?;
            walk(path, DEPTH, &mut files, &mut found.notes);
            files.sort_by_cached_key(|(path, _)| age(path));
            for (path, size) in files {
                let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                found.inputs.push(Input { place: Place::File(path), name, kind: Kind::Auto, size });
            }
        } else {
            fs::File::open(path).map_err(failed)?;
            found.inputs.push(Input {
                place: Place::File(path.to_owned()),
                name: path.display().to_string(),
                kind: Kind::Auto,
                size: data.len(),
            });
        }
    }
    Ok(found)
}

fn walk(directory: &Path, depth: usize, files: &mut Vec<(PathBuf, u64)>, notes: &mut Vec<String>) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            return notes.push(format!("{} cannot be read: {error}", directory.display()));
        }
    };
    let mut here: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    here.sort();
    let forms = ["journal.export", "journal.json", "journal.txt"];
    let form = forms.iter().position(|form| here.iter().any(|path| path.ends_with(form)));
    for path in here {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let rank = forms.iter().position(|form| *form == name);
        if name.starts_with('.') || (rank.is_some() && rank != form) {
            continue;
        }
        // the link itself is looked at for directories: links may lead in circles
        let Ok(data) = fs::symlink_metadata(&path) else { continue };
        if data.is_dir() {
            if depth == 0 {
                notes.push(format!("{} lies too deep and was not searched", path.display()));
            } else {
                walk(&path, depth - 1, files, notes);
            }
            continue;
        }
        let Ok(data) = fs::metadata(&path) else { continue };
        if !data.is_file() || !may_be_log(&name) {
            continue;
        }
        if files.len() == FILES {
            let note = format!("only the first {FILES} files were read");
            if !notes.contains(&note) {
                notes.push(note);
            }
            return;
        }
        files.push((path, data.len()));
    }
}

/// By its name; what is binary shows when it is read.
fn may_be_log(name: &str) -> bool {
    const OTHERS: [&str; 25] = [
        "md", "html", "css", "js", "ts", "py", "rs", "sh", "sql", "toml", "yaml", "yml", "conf",
        "ini", "png", "jpg", "svg", "pdf", "zip", "xz", "bz2", "zst", "db", "sqlite", "service",
    ];
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    // what an evaluation knows is not for the one who is evaluated
    name != "truth.json" && !OTHERS.contains(&extension)
}

/// Sorts files by directory and name, the generations of one log from old to new:
/// `error.log.2.gz`, `error.log.1`, `error.log`; `error.log-20261119.gz`, `error.log`.
fn age(path: &Path) -> (PathBuf, String, std::cmp::Reverse<u64>) {
    let directory = path.parent().unwrap_or(path).to_owned();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bare = name.strip_suffix(".gz").unwrap_or(&name);
    if let Some((base, number)) = bare.rsplit_once(['.', '-'])
        && !base.is_empty()
        && let Ok(number) = number.parse::<u64>()
    {
        let generation = if number > 100_000 { u64::MAX - number } else { number };
        return (directory, base.to_owned(), std::cmp::Reverse(generation));
    }
    (directory, bare.to_owned(), std::cmp::Reverse(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &Inputs) -> Vec<&str> {
        found.inputs.iter().map(|input| input.name.as_str()).collect()
    }

    #[test]
    fn a_directory_is_searched() {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            "truth.json",
            "journal.txt",
            "journal.json",
            "journal.export",
            "notes.md",
            "error.log",
            "error.log.1",
            "error.log.10.gz",
            "error.log.2.gz",
            "sub/journal.txt",
            "sub/a.log-20261120",
            "sub/a.log-20261119",
            "sub/a.log",
            ".hidden",
        ];
        fs::create_dir(directory.path().join("sub")).unwrap();
        for file in files {
            fs::write(directory.path().join(file), "x\n").unwrap();
        }
        let found = expand(&[directory.path()]).unwrap();
        assert_eq!(
            names(&found),
            [
                "error.log.10.gz",
                "error.log.2.gz",
                "error.log.1",
                "error.log",
                "journal.export",
                "sub/a.log-20261119",
                "sub/a.log-20261120",
                "sub/a.log",
                "sub/journal.txt",
            ]
        );
        assert!(found.notes.is_empty());
    }

    #[test]
    fn what_is_named_must_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let error = expand(&[directory.path().join("nothing.log")]).unwrap_err();
        assert!(error.to_string().contains("nothing.log cannot be read"), "{error}");
        assert_eq!(names(&expand(&["-", "-"]).unwrap()), ["stdin"]);
    }
}
