//! Commands that hang, refuse to end, leave children behind or print without end.

use std::fs;

use lux::repair::action::Status;
use rustix::process::{Signal, kill_process};

use super::{Rig, gone, lives, script};
use crate::support::{Database, on_both};

#[tokio::test]
async fn a_command_that_hangs_is_ended_with_all_its_children() {
    let rig = Rig::start(&Database::sqlite(), |folder| {
        let hang = "echo before; for i in 1 2 3; do sleep 600 & echo $! >> $HERE/pids; done; \
                    echo $$ >> $HERE/pids; wait";
        script(folder, "hang", hang, "timeout = \"3s\"")
    })
    .await;
    let run = rig.run("hang", 1).await;
    assert_eq!((run.status, run.signal), (Status::TimedOut, Some(15)), "{run:?}");
    assert_eq!(run.output.as_deref(), Some("before\n"));
    assert!(run.detail.unwrap().contains("longer than 3s"));
    gone(&rig.pids("pids", 4).await).await;
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed() {
    let rig = Rig::start(&Database::sqlite(), |folder| {
        let stubborn = "trap '' TERM; (trap '' TERM; echo $(sh -c 'echo $PPID') >> $HERE/pids; \
                        while :; do sleep 1; done) & echo $$ >> $HERE/pids; echo started; \
                        while :; do sleep 1; done";
        script(folder, "stubborn", stubborn, "timeout = \"3s\"")
    })
    .await;
    let run = rig.run("stubborn", 1).await;
    assert_eq!((run.status, run.signal), (Status::TimedOut, Some(9)), "{run:?}");
    assert!(run.output.unwrap().starts_with("started\n"));
    gone(&rig.pids("pids", 2).await).await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_ended_and_does_not_hold_us_up() {
    let rig = Rig::start(&Database::sqlite(), |folder| {
        [
            // Holds the pipe, in the group and out of it; and one that holds nothing.
            script(folder, "leaver", "sleep 600 & echo $! >> $HERE/left; echo done", ""),
            script(
                folder,
                "escaper",
                "setsid sh -c 'echo $$ >> $HERE/escaped; exec sleep 600' & \
                 while [ ! -s $HERE/escaped ]; do sleep 0.05; done; echo done",
                "",
            ),
            script(
                folder,
                "quiet",
                "sleep 600 >/dev/null 2>&1 & echo $! >> $HERE/quiet; echo done",
                "",
            ),
            // As many as it can in its time.
            script(
                folder,
                "swarm",
                "f() { for i in 1 2 3; do (echo $(sh -c 'echo $PPID') >> $HERE/swarm; \
                 [ $1 -gt 0 ] && f $(($1 - 1)); sleep 600) & done; }; f 3; wait",
                "timeout = \"3s\"",
            ),
        ]
        .concat()
    })
    .await;
    for (name, file) in [("leaver", "left"), ("quiet", "quiet"), ("escaper", "escaped")] {
        let run = rig.run(name, 1).await;
        assert_eq!(run.status, Status::Succeeded, "{run:?}");
        assert_eq!(run.output.as_deref(), Some("done\n"));
        let left = rig.pids(file, 1).await;
        if name == "escaper" {
            // A session of its own is how a service is made: that is left alone.
            assert!(lives(left[0]));
            kill_process(left[0], Signal::KILL).unwrap();
        }
        gone(&left).await;
    }
    let run = rig.run("swarm", 1).await;
    assert_eq!(run.status, Status::TimedOut, "{run:?}");
    gone(&rig.pids("swarm", 3).await).await;
}

on_both!(a_gigabyte_of_output_neither_blocks_nor_fills_memory);
async fn a_gigabyte_of_output_neither_blocks_nor_fills_memory(database: Database) {
    const BYTES: i64 = 1 << 30;
    let rig = Rig::start(&database, |folder| {
        [
            script(folder, "first", "exit 0", "undo = \"loud\""),
            script(
                folder,
                "loud",
                &format!("echo begin; yes 'password=hunter2hunter2' | head -c {BYTES}; echo; echo end >&2"),
                "timeout = \"10m\"",
            ),
        ]
        .concat()
    })
    .await;
    let first = rig.run("first", 1).await;
    let begun = rig.undo(first.id).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let run = rig.becomes(begun.json()["id"].as_i64().unwrap(), "succeeded").await;
    let output = run["output"].as_str().unwrap();
    assert!(output.len() <= 64 << 10, "{}", output.len());
    assert!(output.starts_with("begin\n") && output.ends_with("\nend\n"));
    assert!(!output.contains("hunter"));
    let dropped = run["output_dropped"].as_i64().unwrap();
    assert!(dropped > BYTES - (64 << 10) && dropped < BYTES, "{dropped}");
    assert!(output.contains(&format!("… {dropped} bytes dropped …")));
    // The most memory that the server ever had.
    let status = fs::read_to_string(format!("/proc/{}/status", rig.server.pid().as_raw_nonzero()));
    let peak = status.unwrap().lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    assert!(peak.unwrap() < 512 << 10, "{peak:?} KiB");
}
