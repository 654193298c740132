//! Which commit a checkout is at, read from its files; git itself is never run (it obeys
//! what the repository's own configuration says).

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// The longest `.git`, `HEAD` or reference that is read, and the longest `packed-refs`.
const MAX_SMALL: u64 = 4 << 10;
const MAX_PACKED: u64 = 16 << 20;

/// Characters of a short commit id, as git shows it.
pub(super) const SHORT: usize = 7;

/// A commit, and the file whose change made it the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// In full.
    pub(super) id: String,
    pub(super) told_by: PathBuf,
}

/// Whether a folder is a checkout.
pub(super) fn is_checkout(folder: &Path) -> bool {
    folder.join(".git").exists()
}

/// The commit of a checkout. `None` while there is none to be read: before the first
/// commit, in the middle of an update, or without the permission.
pub(super) fn head(folder: &Path) -> Option<Commit> {
    let own = own_folder(folder)?;
    let told_by = own.join("HEAD");
    let head = small(&told_by)?;
    let Some(name) = head.strip_prefix("ref:").map(str::trim) else {
        return commit(&head).map(|id| Commit { id, told_by });
    };
    // A name is a path below the folder, never out of it.
    let harmless =
        name.starts_with("refs/") && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !harmless {
        return None;
    }
    // A worktree of several has its branches in the common folder.
    let common = small(&own.join("commondir")).map_or_else(|| own.clone(), |at| own.join(at));
    for place in [own.join(name), common.join(name)] {
        if let Some(id) = small(&place).as_deref().and_then(commit) {
            return Some(Commit { id, told_by: place });
        }
    }
    let told_by = common.join("packed-refs");
    let packed = read(&told_by, MAX_PACKED)?;
    let line = packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' '))?;
    commit(line).map(|id| Commit { id, told_by })
}

/// `.git` itself, or the folder that it names.
fn own_folder(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let told = small(&git)?;
    Some(folder.join(told.strip_prefix("gitdir:")?.trim()))
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_lowercase())
}

fn small(path: &Path) -> Option<String> {
    read(path, MAX_SMALL).map(|text| text.trim().to_owned())
}

/// A regular file's text, unless it is too long.
fn read(path: &Path, most: u64) -> Option<String> {
    // A pipe would be waited for.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    let read = File::open(path).ok()?.take(most + 1).read_to_string(&mut text).ok()?;
    (read as u64 <= most).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::head;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_commit_is_found_wherever_git_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join(".git");
        let id = || head(folder.path()).map(|commit| commit.id);
        fs::create_dir_all(git.join("refs/heads/feature")).unwrap();
        assert_eq!(id(), None);
        fs::write(git.join("HEAD"), format!("{A}\n")).unwrap();
        assert_eq!(id().as_deref(), Some(A), "detached");
        fs::write(git.join("HEAD"), "ref: refs/heads/feature/x\n").unwrap();
        assert_eq!(id(), None, "before the first commit");
        let packed = format!(
            "# pack-refs with: peeled\n{B} refs/heads/feature/xy\n{A} refs/heads/feature/x\n"
        );
        fs::write(git.join("packed-refs"), packed).unwrap();
        assert_eq!(id().as_deref(), Some(A), "packed");
        fs::write(git.join("refs/heads/feature/x"), format!("{B}\n")).unwrap();
        assert_eq!(id().as_deref(), Some(B), "a loose one is newer than a packed one");
    }

    #[test]
    fn a_worktree_of_several_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (main, tree) = (folder.path().join("main/.git"), folder.path().join("tree"));
        fs::create_dir_all(main.join("worktrees/tree")).unwrap();
        fs::create_dir_all(main.join("refs/heads")).unwrap();
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join(".git"), "gitdir: ../main/.git/worktrees/tree\n").unwrap();
        fs::write(main.join("worktrees/tree/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(main.join("worktrees/tree/commondir"), "../..\n").unwrap();
        fs::write(main.join("refs/heads/main"), A).unwrap();
        assert_eq!(head(&tree).unwrap().id, A);
    }

    #[test]
    fn nothing_else_is_taken_for_a_commit() {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join(".git");
        fs::create_dir(&git).unwrap();
        fs::write(folder.path().join("secret"), A).unwrap();
        let odd = [
            "",
            "ref: refs/../../secret",
            "ref: ../secret",
            "ref: /etc/passwd",
            "ref: refs//x",
            "root:x:0:0",
            &A[..39],
            &"g".repeat(40),
        ];
        for head_says in odd {
            fs::write(git.join("HEAD"), head_says).unwrap();
            assert_eq!(head(folder.path()), None, "{head_says}");
        }
    }
}
