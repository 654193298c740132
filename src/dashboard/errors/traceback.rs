//! A traceback as it is shown: what was raised first, under it what caused it; of each the
//! innermost call first, and of those the application's own open.

use crate::errors::{
    detail::{Detail, Exception, Frame},
    shown::Event,
    traceback::in_app,
    tree::Tree,
};

/// Frames of one exception that are shown; the innermost ones.
const FRAMES: usize = 60;
/// Frames whose variables are shown.
const WITH_VARS: usize = 12;
/// Longest value of a variable that is shown, in characters.
const VALUE: usize = 400;
/// Longest source line that is shown, in characters.
const LINE: usize = 300;

/// One exception of a chain.
pub(super) struct Raised {
    pub(super) kind: String,
    pub(super) message: String,
    /// How it belongs to the one above: "caused by", "while handling". Empty for the first.
    pub(super) link: &'static str,
    /// The innermost call first.
    pub(super) frames: Vec<Call>,
    /// Calls that are not shown.
    pub(super) missing: usize,
}

/// One call.
pub(super) struct Call {
    pub(super) file: String,
    pub(super) function: String,
    pub(super) line: Option<u32>,
    pub(super) own: bool,
    /// Where it was raised.
    pub(super) raised: bool,
    /// It stands open.
    pub(super) open: bool,
    /// Number, text, and whether it is the line of the call.
    pub(super) source: Vec<(u32, String, bool)>,
    pub(super) vars: Vec<(String, String)>,
}

/// The chain of an event whose reporter told frames.
pub(super) fn of(event: &Event) -> Vec<Raised> {
    let Some(detail) = &event.detail else { return Vec::new() };
    if detail.exceptions.iter().all(|it| it.frames.is_empty()) {
        return Vec::new();
    }
    let mut with_vars = WITH_VARS;
    let chain = detail.exceptions.iter().rev().enumerate();
    chain.map(|(place, raised)| exception(raised, place == 0, &mut with_vars)).collect()
}

/// How many calls of how many are the application's own.
pub(super) fn counts(chain: &[Raised]) -> (usize, usize) {
    let calls = chain.iter().flat_map(|raised| &raised.frames);
    (calls.clone().filter(|call| call.own).count(), calls.count())
}

fn exception(raised: &Exception<'_>, first: bool, with_vars: &mut usize) -> Raised {
    let source = raised.mechanism.as_ref().and_then(|it| it.source.as_deref());
    let link = match source {
        _ if first => "",
        Some("__context__") => "while handling",
        Some(source) if source.starts_with("exceptions") => "one of them",
        _ => "caused by",
    };
    let shown = raised.frames.iter().rev().take(FRAMES);
    let own: Vec<bool> = shown.clone().map(is_own).collect();
    // Where none is known to be the application's, all may be.
    let none = !own.contains(&true);
    let innermost = own.iter().position(|own| *own || none);
    let frames = shown
        .enumerate()
        .map(|(place, frame)| {
            let own = own[place] || none;
            let vars = if own && *with_vars > 0 {
                *with_vars -= 1;
                pairs(&frame.vars)
            } else {
                Vec::new()
            };
            Call {
                file: frame
                    .filename
                    .as_deref()
                    .or(frame.abs_path.as_deref())
                    .or(frame.module.as_deref())
                    .unwrap_or("unknown file")
                    .to_owned(),
                function: frame.function.as_deref().unwrap_or_default().to_owned(),
                line: frame.lineno,
                own,
                raised: place == 0,
                open: first && innermost == Some(place),
                source: source_of(frame),
                vars,
            }
        })
        .collect();
    let kind = raised.kind.as_deref().unwrap_or("Error");
    let kind = match raised.module.as_deref() {
        Some(module) if !module.is_empty() && !kind.contains('.') && module != "__main__" => {
            format!("{module}.{kind}")
        }
        _ => kind.to_owned(),
    };
    Raised {
        kind,
        message: cut(raised.value.as_deref().unwrap_or_default(), 2000),
        link,
        frames,
        missing: raised.frames_cut + raised.frames.len().saturating_sub(FRAMES),
    }
}

fn is_own(frame: &Frame<'_>) -> bool {
    let file = frame.abs_path.as_deref().or(frame.filename.as_deref()).unwrap_or_default();
    frame.in_app.unwrap_or_else(|| in_app(file))
}

fn source_of(frame: &Frame<'_>) -> Vec<(u32, String, bool)> {
    let Some(hit) = frame.context_line.as_deref() else { return Vec::new() };
    let line = frame.lineno.unwrap_or(1);
    let before = u32::try_from(frame.pre_context.len()).unwrap_or(0);
    let first = line.saturating_sub(before);
    let lines = frame.pre_context.iter().map(|text| (text.as_ref(), false));
    let lines = lines.chain([(hit, true)]);
    let lines = lines.chain(frame.post_context.iter().map(|text| (text.as_ref(), false)));
    (first..).zip(lines).map(|(number, (text, hit))| (number, cut(text, LINE), hit)).collect()
}

/// Names with values, each in one text.
pub(super) fn pairs(tree: &Tree<'_>) -> Vec<(String, String)> {
    tree.clone()
        .into_pairs()
        .into_iter()
        .map(|(name, value)| (name.into_owned(), said(&value)))
        .collect()
}

/// A value in one text.
pub(super) fn said(value: &Tree<'_>) -> String {
    let text = match value {
        Tree::Null => "null".to_owned(),
        Tree::Cut => "… [cut]".to_owned(),
        value => value
            .plain()
            .map_or_else(|| serde_json::to_string(value).unwrap_or_default(), str::to_owned),
    };
    cut(&text, VALUE)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The traceback as text, as programs print it: the reporter's own, else made of the frames.
pub(super) fn as_text(event: &Event, chain: &[Raised]) -> String {
    use std::fmt::Write;
    if let Some(stack) = &event.error.error_stack {
        return stack.clone();
    }
    let mut text = String::new();
    for raised in chain {
        if !raised.link.is_empty() {
            let _ = writeln!(text, "\n{}:", raised.link);
        }
        let _ = writeln!(text, "{}: {}", raised.kind, raised.message);
        for call in &raised.frames {
            let line = call.line.map(|line| format!(", line {line}")).unwrap_or_default();
            let _ = writeln!(text, "  {}{line}, in {}", call.file, call.function);
            for (_, source, _) in call.source.iter().filter(|it| it.2) {
                let _ = writeln!(text, "    {}", source.trim());
            }
        }
    }
    text
}

/// What else was told, in sections: a name and its pairs.
pub(super) fn told(detail: &Detail<'_>) -> Vec<(&'static str, Vec<(String, String)>)> {
    let mut sections = Vec::new();
    let mut add = |name, pairs: Vec<(String, String)>| {
        if !pairs.is_empty() {
            sections.push((name, pairs));
        }
    };
    add("User", pairs(&detail.user));
    add("Contexts", pairs(&detail.contexts));
    add("Added by the program", pairs(&detail.extra));
    add("Message parameters", pairs(&detail.params));
    let mut program = Vec::new();
    for (name, value) in [
        ("platform", &detail.platform),
        ("transaction", &detail.transaction),
        ("logger", &detail.logger),
        ("server", &detail.server_name),
        ("build", &detail.dist),
        ("SDK", &detail.sdk),
    ] {
        program.extend(value.as_deref().map(|value| (name.to_owned(), cut(value, VALUE))));
    }
    add("Program", program);
    sections
}

#[cfg(test)]
mod tests {
    use super::{counts, exception};
    use crate::errors::detail::{Exception, Frame};

    fn frame(file: &'static str, own: Option<bool>) -> Frame<'static> {
        Frame {
            filename: Some(file.into()),
            in_app: own,
            lineno: Some(63),
            pre_context: vec!["a".into(), "b".into()],
            context_line: Some("c".into()),
            post_context: vec!["d".into()],
            ..Frame::default()
        }
    }

    #[test]
    fn own_code_stands_open_and_lines_have_numbers() {
        let raised = Exception {
            frames: vec![
                frame("main.py", Some(true)),
                frame("shop/views.py", None),
                frame("/usr/lib/python3/site-packages/psycopg2/__init__.py", None),
            ],
            ..Exception::default()
        };
        let mut vars = 12;
        let shown = exception(&raised, true, &mut vars);
        assert_eq!(shown.frames.iter().map(|it| it.own).collect::<Vec<_>>(), [false, true, true]);
        assert!(shown.frames[0].raised && !shown.frames[0].open && shown.frames[1].open);
        let lines: Vec<_> = shown.frames[1].source.iter().map(|it| (it.0, it.2)).collect();
        assert_eq!(lines, [(61, false), (62, false), (63, true), (64, false)]);
        assert_eq!(counts(&[shown]), (2, 3));
    }

    #[test]
    fn where_nothing_is_known_all_may_be_own() {
        let foreign = "/usr/lib/python3/site-packages/a.py";
        let raised =
            Exception { frames: vec![frame(foreign, Some(false))], ..Exception::default() };
        let mut vars = 0;
        let shown = exception(&raised, true, &mut vars);
        assert!(shown.frames[0].own && shown.frames[0].open);
    }
}
