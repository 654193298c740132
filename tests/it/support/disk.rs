//! A small file system of a test's own.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use super::{run, skip, variable};

pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts so much memory ("512m"); `None` where that is not permitted.
    pub(crate) fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o"]).arg(format!("size={size},mode=700"));
        command.arg("tmpfs").arg(at);
        if run(&mut command).code == Some(0) {
            return Some(Self(at.to_owned()));
        }
        // Only root may; a developer who is not sees this much.
        if rustix::process::geteuid().is_root() && variable("LUX_TEST_REQUIRE").is_some() {
            skip("the right to mount a tmpfs");
        }
        None
    }

    pub(crate) fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        let block = vec![0; 64 << 10];
        while file.write_all(&block).is_ok() {}
        let block = [0; 512];
        while file.write_all(&block).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}
