//! Whether the file that lists commands is as trustworthy as a command line: nobody but
//! root and Lux's own user could have written it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Says why not, and what to do about it. The file's folder counts as well: who may
/// write there can put another file in its place.
pub(super) fn check(file: &Path) -> Result<(), String> {
    let file = fs::canonicalize(file).map_err(|error| format!("{}: {error}", file.display()))?;
    check_one(&file)?;
    file.parent().map_or(Ok(()), |folder| check_one(&PathBuf::from(folder)))
}

fn check_one(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let found = fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != 0 && found.uid() != own {
        return Err(format!(
            "{shown} belongs to user {}, who could change what is run; chown root {shown}",
            found.uid()
        ));
    }
    // In a sticky folder (/tmp) only the owner of a file can replace it.
    let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    if found.mode() & 0o022 != 0 && !sticky {
        return Err(format!(
            "{shown} may be written by others, who could change what is run; chmod go-w {shown}"
        ));
    }
    Ok(())
}
