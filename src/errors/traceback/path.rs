//! Paths of source files: whose code it is, and where in the project.

/// What marks a path as a library's or the language's own.
const FOREIGN: &[&str] = &[
    "site-packages/",
    "dist-packages/",
    "/lib/python",
    "/lib64/python",
    "/usr/lib/",
    "/usr/share/",
    "/usr/local/lib/",
    ".local/lib/",
    "node_modules/",
    "/.venv/",
    "/venv/",
    "/virtualenv/",
    "/.pyenv/",
    "/.cargo/",
    "/rustc/",
    "<frozen ",
    "<__array_function__",
    "node:",
    "internal/",
    "webpack/runtime",
];

/// Directories under which each deployment or release has one of its own.
const PER_RELEASE: &[&str] = &["releases", "release", "versions", "builds", "deploys", "revisions"];

/// Directories whose next component is a project's or a user's name.
const HOMES: &[&str] = &[
    "/srv/",
    "/opt/",
    "/var/www/html/",
    "/var/www/",
    "/usr/src/",
    "/usr/local/",
    "/var/lib/",
    "/data/",
];

/// Directories that are themselves a project (containers).
const ROOTS: &[&str] = &[
    "/app/",
    "/code/",
    "/src/",
    "/workspace/",
    "/workspaces/",
    "/project/",
    "/root/",
    "/var/task/",
];

/// True for the application's own code.
pub fn in_app(file: &str) -> bool {
    let file = file.replace('\\', "/");
    let file = file.strip_prefix("file://").unwrap_or(&file);
    !FOREIGN.iter().any(|mark| match *mark {
        "node:" | "internal/" => file.starts_with(mark),
        mark => file.contains(mark),
    })
}

/// The path inside the project, the same wherever and in whichever release it is
/// deployed: `/srv/shop/releases/20260131/orders/views.py` → `orders/views.py`.
pub(super) fn in_project(file: &str) -> String {
    let file = file.replace('\\', "/");
    let mut rest = file.strip_prefix("file://").unwrap_or(&file);
    // A bundle served by a web server: scheme and host say nothing about the code.
    if let Some((scheme, after)) = rest.split_once("://")
        && scheme.len() < 12
    {
        rest = after.split_once('/').map_or(after, |(_, path)| path);
    }
    rest = rest.split(['?', '#']).next().unwrap_or(rest);
    if rest.as_bytes().get(1) == Some(&b':') {
        rest = rest.get(2..).unwrap_or(rest);
    }
    // A virtual environment's place, Python's version and the environment's name vary.
    for mark in ["site-packages/", "dist-packages/", "node_modules/"] {
        if let Some(at) = rest.rfind(mark) {
            rest = &rest[at + mark.len()..];
        }
    }
    if let Some(at) = rest.find("/lib/python") {
        let library = &rest[at + "/lib/python".len()..];
        rest = library.split_once('/').map_or(library, |(_, path)| path);
    }
    rest = without_root(rest);
    let parts: Vec<&str> =
        rest.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let mut kept: Vec<String> = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        if !last && (varies(part) || PER_RELEASE.contains(part) || *part == "current") {
            // What stands before a release's name is where it was deployed.
            kept.clear();
            continue;
        }
        kept.push(if last { without_hash(part) } else { (*part).to_owned() });
    }
    let from = kept.len().saturating_sub(3);
    kept[from..].join("/")
}

fn without_root(path: &str) -> &str {
    let after_name = |rest: &'_ str| rest.find('/').map(|at| at + 1);
    for home in ["/home/", "/Users/"] {
        if let Some(rest) = path.strip_prefix(home) {
            let Some(user) = after_name(rest) else { return rest };
            let project = &rest[user..];
            return after_name(project).map_or(project, |at| &project[at..]);
        }
    }
    for home in HOMES {
        if let Some(rest) = path.strip_prefix(home) {
            return after_name(rest).map_or(rest, |at| &rest[at..]);
        }
    }
    for root in ROOTS {
        if let Some(rest) = path.strip_prefix(root) {
            return rest;
        }
    }
    path
}

/// A release's name: a date, a number, a version, a commit.
fn varies(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let hex = part.len() >= 7 && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (hex && digits > 0) || (digits >= 4 && digits * 2 >= part.len()) || is_version(part)
}

fn is_version(part: &str) -> bool {
    let part = part.strip_prefix('v').unwrap_or(part);
    part.contains('.') && part.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
}

/// `main.8f3a2b1c.js` → `main.js`: bundlers name files after their content.
fn without_hash(name: &str) -> String {
    let mut parts: Vec<&str> = name.split('.').collect();
    if parts.len() > 2 {
        let (first, last) = (parts[0], parts[parts.len() - 1]);
        parts.retain(|part| *part == first || *part == last || !hashlike(part));
        return parts.join(".");
    }
    if let [stem, extension] = parts[..]
        && let Some((stem, hash)) = stem.rsplit_once('-')
        && hashlike(hash)
    {
        return format!("{stem}.{extension}");
    }
    name.to_owned()
}

fn hashlike(part: &str) -> bool {
    part.len() >= 6
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && part.bytes().any(|b| b.is_ascii_digit())
}
