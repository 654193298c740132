//! Packs of recorded faults: what proves the truth must be in them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Collector, PACK_BYTES, Pack};
use crate::{
    diagnose::{Advisor, Diagnosis, Scan, Scanned},
    llm,
    logs::{
        Record,
        input::{self, Input},
        scan::{self, Consumer},
        time::Zone,
    },
    redact::Redactor,
};

#[derive(Deserialize)]
struct Truth {
    #[serde(default)]
    evidence: Vec<String>,
    timezone: Option<String>,
}

/// Feeds a recording's records, one after the other.
struct Feed<'f>(Mutex<&'f mut (dyn FnMut(&str, &Record<'_>) + Send)>);

impl Consumer for Feed<'_> {
    type Shard = String;
    type Total = ();

    fn shard(&self, _: usize, input: &Input) -> String {
        input.name.clone()
    }

    fn feed(&self, name: &mut String, record: &Record<'_>) {
        (self.0.lock().unwrap())(name, record);
    }

    fn merge(&self, (): &mut (), _: usize, _: &Input, _: String) {}
}

fn each(folder: &Path, zone: Zone, each: &mut (dyn FnMut(&str, &Record<'_>) + Send)) -> Scanned {
    let found = input::expand(&[folder]).unwrap();
    let read = scan::scan(&found.inputs, zone, &Feed(Mutex::new(each)), &mut (), &|_| {});
    Scanned { files: read.files, lines: read.lines, bytes: read.bytes }
}

fn start() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

struct Packed {
    diagnosis: Diagnosis,
    pack: Pack,
    redactor: Redactor,
}

fn pack(advisor: &Advisor, folder: &Path, zone: Zone, budget: usize) -> Packed {
    let mut scan: Option<Scan> = Some(advisor.scan());
    let scanned = each(folder, zone, &mut |name, record| scan.as_mut().unwrap().feed(name, record));
    let diagnosis = scan.take().unwrap().finish(scanned, Vec::new());
    let mut collector = Collector::new(&diagnosis, start());
    each(folder, zone, &mut |name, record| collector.feed(name, record));
    let mut redactor = Redactor::default();
    let pack = collector.finish(&diagnosis, &[], budget, &mut |text| {
        llm::inert(&redactor.hide(&llm::visible(text))).into_owned()
    });
    Packed { diagnosis, pack, redactor }
}

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/logs-fixtures"))
}

fn truth(folder: &Path) -> Truth {
    serde_json::from_str(&fs::read_to_string(folder.join("truth.json")).unwrap()).unwrap()
}

fn zone(truth: &Truth) -> Zone {
    truth.timezone.as_ref().map_or_else(Zone::default, |zone| Zone::Named(zone.parse().unwrap()))
}

/// The evidence of each recording that is not in its pack; (folders, all, missing).
fn missing(root: &Path, budget: usize) -> (usize, usize, Vec<String>) {
    let advisor = Advisor::new(None).unwrap();
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("truth.json").is_file());
    folders.sort();
    let (mut all, mut missing) = (0, Vec::new());
    for folder in &folders {
        let truth = truth(folder);
        let packed = pack(&advisor, folder, zone(&truth), budget);
        assert!(
            packed.pack.text.len() <= budget,
            "{} bytes: {}",
            packed.pack.text.len(),
            folder.display()
        );
        let seen = packed.redactor.reveal(&packed.pack.text);
        for text in &truth.evidence {
            all += 1;
            let mut redactor = packed.redactor.clone();
            if !seen.contains(text) && !packed.pack.text.contains(&redactor.hide(text)) {
                missing.push(format!("{}: {text}", folder.file_name().unwrap().display()));
            }
        }
    }
    (folders.len(), all, missing)
}

#[test]
fn what_proves_a_fault_is_in_its_pack() {
    let (folders, all, missing) = missing(&fixtures(), PACK_BYTES);
    assert!(folders >= 80 && all >= 130, "{folders} folders, {all} texts");
    assert!(missing.is_empty(), "{} of {all}:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn figures() {
    let root = std::path::PathBuf::from(std::env::var("LUX_FIG").unwrap_or("logs-fixtures".into()));
    for budget in [4096] {
        let (folders, all, gone) = missing(&root, budget);
        println!("{budget}: {folders} {} of {all}\n   {}", all - gone.len(), gone.join("\n   "));
    }
    let advisor = Advisor::new(None).unwrap();
    for (name, budget) in [
        ("65", 16384),
        ("01", 16384),
        ("11", 4096),
        ("191-latency-regression", 16384),
        ("250-json-logs-redis-down", 16384),
    ] {
        let one = root.join(name);
        let packed = pack(&advisor, &one, zone(&truth(&one)), budget);
        println!("===== {name} {} tokens", crate::llm::estimate(&packed.pack.text));
        println!("===== {name}\n{}\n{}", packed.pack.text, packed.pack.text.len());
    }
}
