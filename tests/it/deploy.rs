//! What deploy/ gives to systemd and polkit, asked of systemd and polkit themselves.

use std::{
    fs::{self, File},
    io::Write,
    process::{Command, Stdio},
};

use crate::support::{repository, run, say, skip};

const MANAGE: &str = "org.freedesktop.systemd1.manage-units";

/// (user, action, unit, verb, what polkit says)
const MATRIX: &[(&str, &str, &str, &str, &str)] = &[
    ("lux", MANAGE, "gunicorn.service", "restart", "yes"),
    ("lux", MANAGE, "gunicorn.service", "reload", "yes"),
    ("lux", MANAGE, "nginx.service", "reload", "yes"),
    ("lux", MANAGE, "nginx.service", "restart", "no"),
    ("lux", MANAGE, "gunicorn.service", "stop", "no"),
    ("lux", MANAGE, "gunicorn.service", "start", "no"),
    ("lux", MANAGE, "gunicorn.service", "kill", "no"),
    ("lux", MANAGE, "gunicorn.service", "", "no"),
    ("lux", MANAGE, "ssh.service", "restart", "no"),
    ("lux", MANAGE, "", "restart", "no"),
    ("lux", MANAGE, "gunicorn", "restart", "no"),
    ("lux", MANAGE, "gunicorn.service evil.service", "restart", "no"),
    ("lux", MANAGE, "evil.service gunicorn.service", "restart", "no"),
    ("lux", MANAGE, "gunicorn.service,evil.service", "restart", "no"),
    ("lux", MANAGE, " gunicorn.service", "restart", "no"),
    ("lux", MANAGE, "Gunicorn.service", "restart", "no"),
    ("lux", MANAGE, "gunicornXservice", "restart", "no"),
    ("lux", MANAGE, "*", "restart", "no"),
    ("lux", MANAGE, "constructor", "restart", "no"),
    ("lux", MANAGE, "__proto__", "restart", "no"),
    ("lux", MANAGE, "gunicorn.service", "constructor", "no"),
    ("lux", MANAGE, "length", "0", "no"),
    // Whoever else, and whatever else: as without the rule.
    ("nobody", MANAGE, "gunicorn.service", "restart", "ask"),
    ("lux", "org.freedesktop.systemd1.manage-unit-files", "gunicorn.service", "restart", "ask"),
    ("lux", "org.freedesktop.systemd1.reload-daemon", "", "", "ask"),
];

/// The rule as it is delivered, and with units named in it as its comments say.
fn rules() -> [String; 2] {
    let rule = fs::read_to_string(repository("deploy/50-lux.rules")).unwrap();
    let named = rule
        .replace(
            "// [\"shop.service\", \"restart\"],",
            "[\"gunicorn.service\", \"restart\"], [\"gunicorn.service\", \"reload\"],",
        )
        .replace("// [\"nginx.service\", \"reload\"],", "[\"nginx.service\", \"reload\"],");
    assert!(!named.contains("// ["), "{named}");
    [rule, named]
}

/// Asks all questions of the matrix; `answer` is given the rule and a line for each.
fn hold(answers: impl Fn(&str, &str) -> String) {
    let questions = MATRIX
        .iter()
        .map(|(user, action, unit, verb, _)| format!("{user}|{action}|{unit}|{verb}\n"));
    let questions: String = questions.collect();
    let [delivered, named] = rules();
    for (rule, off) in [(delivered, true), (named, false)] {
        let answers = answers(&rule, &questions);
        let answers: Vec<&str> = answers.lines().collect();
        assert_eq!(answers.len(), MATRIX.len(), "{answers:?}");
        for (case, answer) in MATRIX.iter().zip(answers) {
            // Without a unit named in it, it allows nothing.
            let expected = if off && case.4 == "yes" { "no" } else { case.4 };
            assert_eq!(answer, expected, "{case:?}, off: {off}");
        }
    }
}

fn fed(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn has(program: &str) -> bool {
    let path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    path.split(':').any(|folder| File::open(format!("{folder}/{program}")).is_ok())
}

#[test]
fn polkit_lets_lux_restart_just_the_named_units() {
    if !rustix::process::geteuid().is_root() {
        say("skipped: a polkit daemon of one's own needs root; the rule itself is tested beside");
        return;
    }
    for program in ["pkcheck", "dbus-daemon", "dbus-send", "unshare", "setpriv"] {
        if !has(program) {
            return skip(program);
        }
    }
    hold(|rule, questions| {
        let scratch = tempfile::Builder::new().prefix("lux-polkit").tempdir_in("/tmp").unwrap();
        let file = scratch.path().join("rule");
        fs::write(&file, rule).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash"]).arg(repository("tests/polkit.sh"));
        fed(command.arg(file).arg(scratch.path()), questions)
    });
}

#[test]
fn the_rule_says_so_in_any_engine() {
    if !has("node") {
        return skip("node");
    }
    // What polkit brings, as its manual describes it.
    let polkit = r#"
        const rules = [];
        const polkit = {
            Result: { NO: "no", YES: "yes", NOT_HANDLED: null },
            addRule: (rule) => rules.push(rule),
        };
        new Function("polkit", process.argv[1])(polkit);
        for (const line of require("fs").readFileSync(0, "utf8").split("\n").slice(0, -1)) {
            const [user, id, unit, verb] = line.split("|");
            const details = new Map([["unit", unit], ["verb", verb]]);
            const action = { id, lookup: (key) => details.get(key) };
            console.log(rules[0](action, { user }) ?? "ask");
        }
    "#;
    hold(|rule, questions| fed(Command::new("node").args(["-e", polkit]).arg(rule), questions));
}

#[test]
fn the_unit_leaves_little_open() {
    if !has("systemd-analyze") {
        return skip("systemd-analyze");
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("lux.service");
    fs::copy(repository("deploy/lux.service"), &unit).unwrap();
    let said = run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&unit));
    let verdict = said.out.lines().find(|line| line.contains("Overall exposure level"));
    let verdict = verdict.unwrap_or_else(|| panic!("{said:?}"));
    let score = verdict.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    assert!(score.is_some_and(|score| score <= 2.0), "{}\n{verdict}", said.out);
    // Under it sudo cannot work, which is why there is a rule for polkit.
    let text = fs::read_to_string(&unit).unwrap();
    assert!(text.contains("NoNewPrivileges=yes") && text.contains("50-lux.rules"));
    // What it keeps, and what it had open when it died, is nobody else's.
    for line in ["UMask=0077", "StateDirectoryMode=0700", "LimitCORE=0"] {
        assert!(text.lines().any(|it| it == line), "{line} is missing");
    }
}
