//! Measures the scan of a mixed nginx log beside `wc -l` and `grep -ciE` with twelve
//! words on the same file.
//!
//! `cargo bench --bench scan -- [MIB] [FILE]`: writes FILE (default
//! `target/bench-nginx.log`) of MIB mebibytes (default 1024) unless it has that size.
#![expect(clippy::print_stdout, reason = "it reports to its terminal")]

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use aho_corasick::{AhoCorasick, MatchKind};
use lux::logs::{
    Record,
    input::{self, Input},
    scan::{self, Consumer},
    time::Zone,
};

const WORDS: [&str; 12] = [
    "timed out",
    "refused",
    "no live upstreams",
    "permission denied",
    "too many open files",
    "out of memory",
    "no such file",
    "segfault",
    "certificate",
    "limiting requests",
    "prematurely closed",
    "traceback",
];

/// Does about what a diagnosis does: words in what is no access record, counters over
/// what is.
struct Words(AhoCorasick);

#[derive(Default)]
struct Counts {
    records: u64,
    hits: u64,
    failed: u64,
    bytes: u64,
}

impl Consumer for Words {
    type Shard = Counts;
    type Total = Counts;

    fn shard(&self, _: usize, _: &Input) -> Counts {
        Counts::default()
    }

    fn feed(&self, counts: &mut Counts, record: &Record<'_>) {
        counts.records += 1;
        if let Some(access) = record.access() {
            counts.failed += u64::from(access.status >= 500);
            counts.bytes += access.bytes;
        } else {
            counts.hits += u64::from(self.0.is_match(&*record.text));
        }
    }

    fn merge(&self, total: &mut Counts, _: usize, _: &Input, shard: Counts) {
        total.records += shard.records;
        total.hits += shard.hits;
        total.failed += shard.failed;
        total.bytes += shard.bytes;
    }
}

/// The same bytes every time: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap_or_default()]
    }
}

/// Access lines, two in a hundred of the error log between them.
fn write_log(path: &Path, size: u64) -> std::io::Result<()> {
    const AGENTS: [&str; 4] = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "curl/7.88.1",
        "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    ];
    const PATHS: [&str; 6] =
        ["/", "/api/users", "/api/orders", "/static/app.css", "/api/price?items=a:1,b:2", "/login"];
    const ERRORS: [&str; 3] = [
        "connect() failed (111: Connection refused) while connecting to upstream",
        "upstream timed out (110: Connection timed out) while reading response header from upstream",
        "open() \"/srv/static/favicon.ico\" failed (2: No such file or directory)",
    ];
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut written = 0;
    let mut second = 0_u64;
    while written < size {
        second += u64::from(dice.roll(20) == 0);
        let (hour, minute, sec) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let (client, path) = (dice.roll(250), dice.pick(&PATHS));
        let line = if dice.roll(50) == 0 {
            format!(
                "2026/11/20 {hour:02}:{minute:02}:{sec:02} [error] 1122#1122: *{} {}, client: 198.51.100.{client}, server: shop.example.com, request: \"GET {path} HTTP/1.1\", upstream: \"http://127.0.0.1:8000{path}\", host: \"shop.example.com\"\n",
                dice.roll(1_000_000),
                dice.pick(&ERRORS),
            )
        } else {
            let status = if dice.roll(100) == 0 { 502 } else { 200 };
            format!(
                "198.51.100.{client} - - [20/Nov/2026:{hour:02}:{minute:02}:{sec:02} +0000] \"GET {path} HTTP/1.1\" {status} {} \"-\" \"{}\"\n",
                dice.roll(20_000),
                dice.pick(&AGENTS),
            )
        };
        written += line.len() as u64;
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}

/// Seconds of processor time used so far, by this process and its children. On a busy
/// machine it tells more than the clock.
fn processor() -> std::io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    // user and system time, own and children's, in hundredths
    let ticks: f64 = fields.skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

/// Best of three, in seconds: by the clock, of the processors.
fn best(mut run: impl FnMut() -> std::io::Result<()>) -> std::io::Result<(f64, f64)> {
    let mut best = (f64::MAX, f64::MAX);
    for _ in 0..3 {
        let (start, before) = (Instant::now(), processor()?);
        run()?;
        best.0 = best.0.min(start.elapsed().as_secs_f64());
        best.1 = best.1.min(processor()? - before);
    }
    Ok(best)
}

fn silent(program: &str, arguments: &[&str], file: &Path) -> std::io::Result<()> {
    Command::new(program).args(arguments).arg(file).env("LC_ALL", "C.UTF-8").output().map(|_| ())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let mebibytes: u64 = arguments.first().map_or(Ok(1024), |text| text.parse())?;
    let file =
        arguments.get(1).map_or_else(|| PathBuf::from("target/bench-nginx.log"), PathBuf::from);
    let size = mebibytes << 20;
    if !fs::metadata(&file).is_ok_and(|data| data.len() >= size && data.len() < size + 4096) {
        write_log(&file, size)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "megabytes to a few digits")]
    let megabytes = fs::metadata(&file)?.len() as f64 / 1e6;
    let report = |name: &str, (seconds, processor): (f64, f64)| {
        let speed = megabytes / seconds;
        println!(
            "{name:<22} {seconds:>6.2} s {speed:>6.0} MB/s {processor:>6.2} s of processor time"
        );
    };
    report("wc -l", best(|| silent("wc", &["-l"], &file))?);
    let pattern = WORDS.join("|");
    let grep = best(|| silent("grep", &["-ciE", &pattern], &file))?;
    report("grep -ciE, 12 words", grep);
    let words = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostFirst)
        .build(WORDS)?;
    let words = Words(words);
    let found = input::expand(&[&file])?;
    let mut total = Counts::default();
    let scan = best(|| {
        total = Counts::default();
        scan::scan(&found.inputs, Zone::default(), &words, &mut total, &|_| {});
        Ok(())
    })?;
    report("lux scan, 12 words", scan);
    println!(
        "{} records, {} with a word, {} failed requests; {:.0} % of grep's speed",
        total.records,
        total.hits,
        total.failed,
        grep.0 / scan.0 * 100.0
    );
    let status = fs::read_to_string("/proc/self/status")?;
    for line in status.lines().filter(|line| line.starts_with("VmHWM")) {
        println!("{line}");
    }
    Ok(())
}
