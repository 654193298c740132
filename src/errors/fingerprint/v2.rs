//! Version 2: version 1 over frames that are the same wherever and by whatever the code was
//! built. Where nothing about them is otherwise, the value is version 1's, and it keeps that
//! one's prefix: most groups have no older fingerprint at all.
//!
//! - Python 3.12 runs comprehensions inside their function; before, they had frames.
//! - Node calls one function `Object.f`, `Module.f`, `exports.f` or `f`, by its own version
//!   and by how a bundler exported it.
//! - Closures are numbered by their place in the file (Go's `f.func1`, Rust's
//!   `{{closure}}`, PHP's `{closure:…}`, Ruby's `block (2 levels) in f`), and Rust's symbols
//!   end in a hash of the build.
//! - Vite and Rollup put eight base64 characters behind a bundle's name, which need not
//!   hold a digit; chunks may have a hash for a name.
//!
//! Frames that become the same by this count once, so a recursion through a closure does
//! not matter, either.

use std::borrow::Cow;

use super::{Seen, v1};

/// Frames of Python's comprehensions before 3.12.
const INLINED: [&str; 3] = ["<listcomp>", "<dictcomp>", "<setcomp>"];
/// Objects that modules of JavaScript are called on.
const MODULES: [&str; 7] =
    ["module.exports.", "exports.", "Object.", "Module.", "Function.", "Proxy.", "window."];

pub(super) fn value(seen: &Seen<'_>) -> String {
    let own = seen.trace.as_ref().map(v1::own_frames).unwrap_or_default();
    let mut frames: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(own.len());
    for frame in own {
        if INLINED.contains(&frame.function.as_str()) {
            continue;
        }
        let frame = (file(&frame.file), function(&frame.function));
        if !frames.contains(&frame) {
            frames.push(frame);
        }
    }
    v1::value_of(seen, frames.iter().map(|(file, function)| (&**file, &**function)))
}

fn file(path: &str) -> Cow<'_, str> {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let Some(dot) = path[name..].find('.').map(|at| name + at) else { return path.into() };
    let (stem, extension) = (&path[name..dot], &path[dot..]);
    if !matches!(extension, ".js" | ".mjs" | ".cjs" | ".css") {
        return path.into();
    }
    let hex = stem.len() >= 8
        && stem.bytes().all(|b| b.is_ascii_hexdigit())
        && stem.bytes().any(|b| b.is_ascii_digit());
    if hex {
        return format!("{}<hash>{extension}", &path[..name]).into();
    }
    if let Some(at) = stem.len().checked_sub(9)
        && at > 0
        && stem.is_char_boundary(at)
        && let Some(hash) = stem[at..].strip_prefix('-')
        && hash.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        // "page-Checkout.js" and "cart-LineItem.js" are names.
        && hash.bytes().skip(1).filter(u8::is_ascii_uppercase).count() > 1
        && hash.bytes().any(|b| b.is_ascii_lowercase())
    {
        return format!("{}{}{extension}", &path[..name], &stem[..at]).into();
    }
    path.into()
}

fn function(name: &str) -> Cow<'_, str> {
    if let Some((_, inner)) = name.strip_prefix("block ").and_then(|block| block.split_once("in "))
    {
        return function(inner);
    }
    if name.starts_with("{closure") {
        return "{closure}".into();
    }
    let mut name = name;
    if let Some((path, hash)) = name.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
    {
        name = path;
    }
    while let Some(outer) = name.strip_suffix("::{{closure}}") {
        name = outer;
    }
    // Go: main.serve.func1, main.serve.func2.1, main.serve.gowrap1
    while let Some((outer, last)) = name.rsplit_once('.') {
        let digits = last.trim_start_matches("func").trim_start_matches("gowrap");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            break;
        }
        name = outer;
    }
    for module in MODULES {
        if let Some(rest) = name.strip_prefix(module)
            && !rest.is_empty()
        {
            name = rest;
            break;
        }
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_build_do_not_count() {
        for (built, own) in [
            ("assets/index-DfGhJkLm.js", "assets/index.js"),
            ("assets/index-B-f_aGHx.mjs", "assets/index.mjs"),
            ("page-Checkout.js", "page-Checkout.js"),
            ("cart-LineItem.js", "cart-LineItem.js"),
            ("static/4f3a2b1c.js", "static/<hash>.js"),
            ("static/app.js", "static/app.js"),
            ("shopping-cart-actions.js", "shopping-cart-actions.js"),
            ("orders/index-DfGhJkLm.py", "orders/index-DfGhJkLm.py"),
            ("ü-ÄÖÜäöüß.js", "ü-ÄÖÜäöüß.js"),
            ("-DfGhJkLm.js", "-DfGhJkLm.js"),
        ] {
            assert_eq!(file(built), own, "{built}");
        }
        for (built, own) in [
            ("Object.total", "total"),
            ("exports.total", "total"),
            ("Object.<anonymous>", "<anonymous>"),
            ("Object.", "Object."),
            ("Cart.total", "Cart.total"),
            ("main.serve.func1", "main.serve"),
            ("main.serve.func2.1", "main.serve"),
            ("main.func", "main.func"),
            ("shop::cart::total::{{closure}}::h0123456789abcdef", "shop::cart::total"),
            ("block (2 levels) in total", "total"),
            ("block in each", "each"),
            ("{closure:/srv/shop/app.php:12}", "{closure}"),
            ("<lambda>", "<lambda>"),
            ("größe", "größe"),
        ] {
            assert_eq!(function(built), own, "{built}");
        }
    }
}
