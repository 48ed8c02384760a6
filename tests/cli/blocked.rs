//! What others hold up or close: stderr, standard output, the statistics. None of it stops a run,
//! or keeps it from ending in time.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use estudely_core::NodeId;
use estudely_core::krpc::{self, Envelope, Kind, Message, ReplyBody};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{HASH, World};

/// A node that answers everything and knows of nothing. Ends with the test process.
pub(crate) fn node() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let addr = socket.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        let mut buf = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buf) {
            let Ok(message) = Message::parse(&buf[..len]) else { continue };
            if !matches!(message.kind, Kind::Query(_)) {
                continue;
            }
            let transaction = message.transaction;
            let envelope =
                Envelope { transaction, version: None, read_only: false, external: None };
            let mut reply = Vec::new();
            krpc::emit_reply(&mut reply, &envelope, &ReplyBody::new(NodeId([7; 20])));
            let _ = socket.send_to(&reply, from);
        }
    });
    addr
}

/// A crawl of one node, on loopback.
fn crawl(world: &World, words: &[&str]) -> Command {
    let mut command = world.command(words);
    command.args(["--bootstrap", &node(), "--bind", "127.0.0.1:0", "--allow-private"]);
    command
}

/// Most time for whatever must happen at last: far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for the end, without taking the processor from what is waited for.
fn end_of(mut child: Child) -> ExitStatus {
    let id = rustix::process::Pid::from_child(&child);
    let ended = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty());
    let ended = ended.expect("a handle of the process");
    let mut asked = [PollFd::new(&ended, PollFlags::IN)];
    let most = Timespec::try_from(PATIENCE).expect("in range");
    if poll(&mut asked, Some(&most)).expect("waited for") == 0 {
        child.kill().expect("killed");
        panic!("it goes on and on");
    }
    child.wait().expect("it has ended")
}

/// Waits until a file is there.
fn appears(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < PATIENCE, "{} is never made", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

/// A pipe that is full.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let file = File::from(std::os::fd::OwnedFd::from(writer.try_clone().expect("cloned")));
    let flags = rustix::fs::fcntl_getfl(&file).expect("flags");
    rustix::fs::fcntl_setfl(&file, flags | rustix::fs::OFlags::NONBLOCK).expect("set");
    while std::io::Write::write(&mut &file, &[b'x'; 512]).is_ok() {}
    rustix::fs::fcntl_setfl(&file, flags).expect("set");
    (reader, writer)
}

#[test]
fn a_stderr_that_is_never_read_stops_neither_rows_nor_the_timeout() {
    for progress in ["always", "auto"] {
        let world = World::new();
        let (reader, writer) = full_pipe();
        // No node is needed for a peer that refuses: a row comes at once, where it is not asked over
        // uTP too.
        world.put("pairs.csv", format!("{HASH},127.0.0.1,1\n"));
        let words = ["fetch", "pairs.csv", "-v", "--progress", progress, "--overall-timeout", "2"];
        let words = [&words[..], &["--transports", "tcp"]].concat();
        let child = crawl(&world, &words).stderr(writer).spawn().expect("crawl runs");
        assert!(end_of(child).success());
        assert_eq!(world.text("metadata.csv").lines().count(), 2, "{progress}: one row");
        drop(reader);
    }
}

#[test]
fn a_signal_ends_a_run_whose_stderr_is_never_read() {
    let world = World::new();
    let (reader, writer) = full_pipe();
    let child =
        crawl(&world, &["--progress", "always"]).stderr(writer).spawn().expect("crawl runs");
    // It hears signals before it makes the file, and makes that before it begins.
    appears(&world.path("metadata.csv"));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::HUP).expect("sent");
    assert!(end_of(child).success(), "a hangup ends it as an interrupt does");
    drop(reader);
}

#[test]
fn a_closed_standard_output_is_a_failure_at_once() {
    let world = World::new();
    let words = ["-c", r#"exec "$0" "$@" >&-"#, env!("CARGO_BIN_EXE_crawl"), "--out", "-"];
    let mut command = Command::new("sh");
    command.current_dir(world.path("")).args(words).args(["--bind", "127.0.0.1:0"]);
    command.args(["--bootstrap", &node(), "--allow-private"]);
    let child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().expect("crawl runs");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "crawl: standard output is closed; name a file, or open it\n");
}

#[test]
fn a_file_behind_standard_output_that_is_cut_or_deleted_ends_the_run() {
    for deleted in [true, false] {
        let world = World::new();
        let file = File::create(world.path("x.csv")).expect("made");
        let mut command = crawl(&world, &["--out", "-", "--progress", "never"]);
        let child = command.stdout(file).stderr(Stdio::piped()).spawn().expect("crawl runs");
        let begun = Instant::now();
        while world.text("x.csv").is_empty() {
            assert!(begun.elapsed() < PATIENCE, "it never begins");
            thread::sleep(Duration::from_millis(5));
        }
        // A look has seen the header.
        thread::sleep(Duration::from_millis(1_500));
        let what = if deleted {
            std::fs::remove_file(world.path("x.csv")).expect("deleted");
            "deleted by another program"
        } else {
            std::fs::write(world.path("x.csv"), "").expect("cut");
            "another program cut it to 0 of"
        };
        let output = child.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("standard output: {what}")), "{said}");
    }
}

#[test]
fn a_standard_output_that_a_parent_has_opened_both_ways_is_none_that_is_closed() {
    let world = World::new();
    // As `subprocess.DEVNULL` of Python.
    let null = File::options().read(true).write(true).open("/dev/null").expect("opens");
    let words = ["--out", "-", "--overall-timeout", "1", "--progress", "never"];
    let output = crawl(&world, &words).stdout(null).output().expect("crawl runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_reader_that_leaves_ends_the_run_although_no_row_is_ever_written() {
    let world = World::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let child = crawl(&world, &["--out", "-"]).stdout(writer).stderr(Stdio::null()).spawn();
    let child = child.expect("crawl runs");
    let mut reader = reader;
    let mut header = [0; 8];
    reader.read_exact(&mut header).expect("a node answered, and the run began");
    drop(reader);
    assert!(end_of(child).success());
}

#[test]
fn help_that_cannot_be_printed_is_a_failure_and_help_that_is_not_read_is_none() {
    let world = World::new();
    for words in [&["--help"][..], &["--version"], &["get", "--help"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("opens");
        let output = world.command(words).stdout(full).output().expect("crawl runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.starts_with("crawl: standard output: "), "{said}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = world.command(words).stdout(writer).output().expect("crawl runs");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn statistics_for_a_named_pipe_that_nobody_reads_keep_the_run_from_nothing() {
    let world = World::new();
    let made = Command::new("mkfifo").arg(world.path("pipe")).status().expect("mkfifo runs");
    assert!(made.success());
    let words = ["--stats", "pipe", "--overall-timeout", "1", "--progress", "never"];
    let child = crawl(&world, &words).stderr(Stdio::piped()).spawn().expect("crawl runs");
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("# ended: ") && said.contains("--stats pipe: nobody reads it"), "{said}");
    assert!(world.path("metadata.csv").exists());
}
