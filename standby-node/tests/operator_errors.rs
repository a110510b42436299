//! What an operator gets to read when something is wrong: one error that names what is wrong, its value and the next
//! step; exit code 1, or 2 for the command line; nothing left half-done.

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use consensus_tap::archive::Recording;
use consensus_tap::codec::log::{ClusterTimeUnit, NewLeadershipTermEvent};
use consensus_tap::wire::data::{HEADER_LENGTH, UNFRAGMENTED};
use consensus_tap::wire::{DataHeader, FrameType};
use standby_node::store::SyncLevel;
use standby_node::store::directory::NodeDirectory;
use standby_node::store::history::History;
use support::node::{Node, NodeFlags, closed_port, path, run, run_with};
use tempfile::TempDir;

/// `run` with what it needs, so that a test adds only what is wrong. It ends by itself, or the test fails.
fn run_node(dir: &Path, extra: &[&str]) -> support::node::Output {
    let endpoint = format!("127.0.0.1:{}", closed_port());
    let mut arguments = vec!["run", "--no-progress", "--consensus-endpoints", &endpoint, "--dir", path(dir)];
    if !extra.contains(&"--host") {
        arguments.extend(["--host", "127.0.0.1"]);
    }
    arguments.extend(extra);
    run(&arguments)
}

fn scratch() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let dir = temp.path().join("node");
    (temp, dir)
}

/// Whether this process may mount; if not, says so where nobody overlooks it.
fn may_mount(test: &str) -> bool {
    let output = Command::new("id").arg("-u").output().expect("id");
    let is_root = output.stdout == b"0\n";
    if !is_root {
        eprintln!("SKIPPED {test}: needs root to mount a tmpfs");
    }
    is_root
}

/// A file system of its own, unmounted on drop.
struct Tmpfs {
    temp: TempDir,
}

impl Tmpfs {
    /// `None` where mounting is not allowed, as in most containers.
    fn mount(test: &str, size: &str) -> Option<Self> {
        if !may_mount(test) {
            return None;
        }
        let temp = tempfile::tempdir().expect("a temporary directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(temp.path())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("SKIPPED {test}: root, but not allowed to mount");
            return None;
        }
        Some(Self { temp })
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }

    fn remount(&self, options: &str) {
        let status =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()).status();
        assert!(status.expect("mount").success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_missing_key_is_named_with_its_flag_and_its_key() {
    run(&["run"]).expect_error(1, &["dir is not set", "--dir", "`dir = …`"]);
    run(&["run", "--dir", "d"]).expect_error(1, &["host is not set", "--host"]);
    run(&["run", "--dir", "d", "--host", "127.0.0.1"]).expect_error(1, &["--consensus-endpoints"]);
    assert!(!Path::new("d").exists(), "nothing is created before everything is checked");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_the_way_to_help() {
    run(&["rnu"]).expect_error(2, &["rnu", "--help"]);
    run(&["run", "--prot", "1"]).expect_error(2, &["--prot", "--port"]);
    run(&["run", "--port", "70000"]).expect_error(2, &["70000", "--port"]);
    run(&["run", "--receive-window", "7x"]).expect_error(2, &["7x", "write bytes"]);
    run(&["run", "--message-timeout", "5"]).expect_error(2, &["\"5\"", "e.g. 500ms"]);
    run(&["run", "--file-sync-level", "3"]).expect_error(2, &["\"3\"", "0, 1 or 2"]);
    run(&["run", "--connect-timeout", "1000y"]).expect_error(2, &["1000y", "--connect-timeout", "365d"]);
    run(&["run", "--network", "dpdk"]).expect_error(2, &["dpdk", "mmsg or io-uring"]);
    run(&["status"]).expect_error(2, &["--dir"]);
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_what_would_be_right() {
    let (_temp, dir) = scratch();
    for (flags, words) in [
        (["--service", "nosuch"], ["service", "nosuch", "audit"]),
        (["--source-type", "boss"], ["source_type", "boss", "follower"]),
        (["--routing", "some"], ["routing", "some", "single"]),
        (["--replay-start", "now"], ["replay_start", "now", "latest-snapshot"]),
        (["--receive-window", "1k"], ["receive_window", "1024", "64k"]),
        (["--response-endpoint", "nowhere"], ["response_endpoint", "nowhere", "host:port"]),
        (["--archive-endpoint", "nowhere"], ["archive_endpoint", "nowhere", "host:port"]),
        (["--audit-ballast", "7"], ["audit_ballast", "7", "multiple of 8"]),
        (["--host", "0.0.0.0"], ["host", "0.0.0.0", "response_endpoint"]),
        (["--host", "10.0.0.7:9100"], ["host", "10.0.0.7:9100", "without a port"]),
    ] {
        run_node(&dir, &flags).expect_error(1, &words);
    }
    let no_port = ["run", "--dir", path(&dir), "--host", "127.0.0.1", "--consensus-endpoints", "node0"];
    run(&no_port).expect_error(1, &["consensus_endpoints", "node0", "node0.example:9003"]);
    assert!(!dir.exists(), "nothing is created before everything is checked");
}

/// A wrong value for each key, as the file writes it; a flag is given the same without quotes and brackets.
const WRONG_VALUES: &[(&str, &str)] = &[
    ("service", "[\"nosuch\"]"),
    ("consensus_endpoints", "[\"nowhere\"]"),
    ("host", "\"10.0.0.7:9100\""),
    ("port", "70000"),
    ("response_endpoint", "\"nowhere\""),
    ("archive_endpoint", "\"nowhere\""),
    ("serve_allow", "[\"10.0.0.0/33\"]"),
    ("max_concurrent_replays", "0"),
    ("max_control_sessions", "70000"),
    ("endpoint_map", "[\"a:1=b\"]"),
    ("member_id", "99999999999"),
    ("cluster_id", "1.5"),
    ("app_version", "\"1.2.256\""),
    ("source_type", "\"boss\""),
    ("fetch_snapshots", "\"perhaps\""),
    ("backup_interval", "\"hourly\""),
    ("routing", "\"some\""),
    ("replay_start", "\"now\""),
    ("consensus_stream_id", "2147483648"),
    ("archive_control_stream_id", "\"\""),
    ("receive_window", "1024"),
    ("socket_receive_buffer", "\"7x\""),
    ("socket_send_buffer", "\"99999999999g\""),
    ("connect_timeout", "\"1000y\""),
    ("response_timeout", "\"366d\""),
    ("message_timeout", "\"5\""),
    ("progress_timeout", "\"0s\""),
    ("source_timeout", "\"soon\""),
    ("file_sync_level", "7"),
    ("sync_interval", "\"\""),
    ("layout", "\"square\""),
    ("receiver_core", "\"first\""),
    ("service_cores", "[100000]"),
    ("idle", "\"sleep(7)\""),
    ("network", "\"dpdk\""),
    ("snapshot_mode", "\"later\""),
    ("snapshot_on_ordinary", "\"perhaps\""),
    ("snapshot_interval", "\"hourly\""),
    ("snapshot_log_length", "\"7x\""),
    ("snapshot_term_length", "100000"),
    ("retain_snapshots", "0"),
    ("ingress_endpoint", "\"nowhere\""),
    ("bootstrap", "\"perhaps\""),
    ("ingress_stream_id", "2147483648"),
    ("clients_file", "\"no-such-file\""),
    ("max_sessions", "4097"),
    ("session_timeout", "\"0s\""),
    ("leader_heartbeat_timeout", "\"soon\""),
    ("log_term_length", "100000"),
    ("egress_term_length", "100000"),
    ("log_mtu", "1400"),
    ("fence_timeout", "\"soon\""),
    ("standby_endpoints", "[\"nowhere\"]"),
    ("liveness_timeout", "\"1ms\""),
    ("probe", "\"perhaps\""),
    ("audit_ballast", "7"),
];
/// Keys that take any text or path.
const ANY_TEXT: &[&str] = &[
    "dir",
    "aeron_dir",
    "credentials",
    "challenge_answer",
    "archive_credentials",
    "archive_server_credentials",
    "archive_server_challenge_answer",
    "consensus_server_credentials",
    "consensus_server_challenge_answer",
    "fence",
];

#[test]
fn a_wrong_value_of_any_key_is_refused_by_flag_and_by_file_alike() {
    let (temp, dir) = scratch();
    let file = temp.path().join("node.toml");
    for (key, wrong) in WRONG_VALUES {
        let text = wrong.trim_matches(['[', ']', '"']);
        let flag = format!("--{}", key.replace('_', "-"));
        // The cores of services count only where these have threads of their own.
        let others: &[&str] = if *key == "layout" { &[] } else { &["--layout", "dedicated"] };
        let output = run_node(&dir, &[others, &[&flag, text]].concat());
        output.expect_error(output.code.filter(|code| *code == 2).unwrap_or(1), &[text]);

        let defaults = [
            ("dir", format!("\"{}\"", path(&dir))),
            ("host", "\"127.0.0.1\"".to_owned()),
            ("consensus_endpoints", format!("[\"127.0.0.1:{}\"]", closed_port())),
            ("layout", "\"dedicated\"".to_owned()),
        ];
        let mut lines = format!("{key} = {wrong}\n");
        for (default, value) in defaults.iter().filter(|(default, _)| default != key) {
            lines.push_str(&format!("{default} = {value}\n"));
        }
        fs::write(&file, lines).expect("a file");
        run(&["run", "--no-progress", "--config", path(&file)]).expect_error(1, &[text]);
    }
}

#[test]
fn no_key_goes_without_a_wrong_value_that_was_tried() {
    use clap::Args as _;
    let command = standby_node::config::Settings::augment_args(clap::Command::new("run"));
    for argument in command.get_arguments() {
        let key = argument.get_id().as_str();
        let is_tried = WRONG_VALUES.iter().any(|(tried, _)| *tried == key) || ANY_TEXT.contains(&key);
        assert!(is_tried, "add a wrong value for `{key}` to WRONG_VALUES, or the key to ANY_TEXT");
    }
}

#[test]
fn an_error_in_the_file_is_told_with_its_line() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let file = temp.path().join("node.toml");
    for (text, words) in [
        ("dir = \"d\"\nhots = \"x\"\n", ["line 2", "hots", "did you mean `host`?"]),
        ("consensus-endpoints = []\n", ["line 1", "unknown field", "did you mean `consensus_endpoints`?"]),
        ("xyzzy = 1\n", ["line 1", "xyzzy", "expected one of"]),
        ("dir = \"d\"\n\nreceive_window = \"7x\"\n", ["line 3", "7x", "write bytes"]),
        ("port = 70000\n", ["line 1", "70000", "u16"]),
        ("dir = \n", ["line 1", "dir = ", "TOML"]),
        ("service = \"audit\"\n", ["line 1", "service", "sequence"]),
    ] {
        fs::write(&file, text).expect("a file");
        let output = run(&["run", "--config", path(&file)]);
        output.expect_error(1, &words);
        assert!(output.stderr.contains(path(&file)), "{}", output.stderr);
    }
    let missing = temp.path().join("nope.toml");
    run(&["run", "--config", path(&missing)]).expect_error(1, &[path(&missing), "No such file"]);
}

#[test]
fn a_port_in_use_is_named_with_the_way_to_its_process() {
    let (_temp, dir) = scratch();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = taken.local_addr().expect("its address").port().to_string();
    let output = run_node(&dir, &["--port", &port]);
    output.expect_error(1, &["host = \"127.0.0.1:", &port, "in use", "ss -ulpn"]);
}

#[test]
fn a_host_that_is_not_ours_or_nobodys_is_named() {
    let (_temp, dir) = scratch();
    // TEST-NET-1, which no interface has, and a name that no server may know.
    run_node(&dir, &["--host", "192.0.2.1"]).expect_error(1, &["192.0.2.1", "no address of this host"]);
    let output = run_node(&dir, &["--host", "no-such-host.invalid"]);
    output.expect_error(1, &["host = \"no-such-host.invalid", "no address"]);
}

#[test]
fn unreachable_members_are_told_of_again_and_again_but_not_at_every_attempt() {
    let endpoints = format!("127.0.0.1:{},no-such-host.invalid:9", closed_port());
    let extra = ["--connect-timeout", "100ms"].map(str::to_owned).to_vec();
    let began = Instant::now();
    let mut node =
        Node::running(NodeFlags { consensus_endpoints: Some(endpoints), extra, ..Default::default() });
    node.await_output("nothing listens there", 1);
    node.await_output("its name does not resolve", 1);
    assert_eq!(node.await_status("there", |_| true)["state"], "BACKUP_QUERY");
    node.await_output("nothing listens there", 2);
    let lines = |text: &str| node.output().lines().filter(|line| line.contains(text)).count() as u64;
    let allowed = began.elapsed().as_secs() / 10 + 1;
    for text in ["nothing listens there", "its name does not resolve", "cannot look up"] {
        assert!(lines(text) <= allowed, "{} lines in {:?}:\n{}", lines(text), began.elapsed(), node.output());
    }
    let again = node.output().lines().rfind(|line| line.contains("nothing listens there")).map(str::to_owned);
    let repeated = again.as_deref().and_then(|line| line.split("repeated=").nth(1)?.split(' ').next());
    let repeated: u64 = repeated.and_then(|count| count.parse().ok()).expect("a count of what was kept back");
    assert!(repeated >= 2, "{again:?}");
    assert!(node.number("errors") >= 1, "and the error log has it");
    assert_eq!(node.terminate(), Some(0), "{}", node.output());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let (temp, dir) = scratch();
    fs::write(&dir, "a file").expect("a file");
    run_node(&dir, &[]).expect_error(1, &[path(&dir), "move away what stands in its place"]);
    let missing = temp.path().join("no/such/parent");
    run_node(&missing, &[]).expect_error(1, &[path(&missing), "check the path"]);

    if let Some(tmpfs) = Tmpfs::mount("a_directory_that_cannot_be_written_is_named", "16m") {
        tmpfs.remount("ro");
        let dir = tmpfs.path().join("node");
        run_node(&dir, &[]).expect_error(1, &[path(&dir), "Read-only", "mount the file system read-write"]);
    } else {
        fs::remove_file(&dir).expect("the file");
        fs::create_dir(&dir).expect("a directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o500)).expect("its mode");
        run_node(&dir, &[])
            .expect_error(1, &[path(&dir), "Permission denied", "let the user of this process"]);
    }
}

#[test]
fn a_running_node_keeps_others_out_of_its_directory_and_of_its_history() {
    let mut node = Node::running(NodeFlags::default());
    let dir = node.dir().to_owned();
    let pid = node.await_status("there", |_| true)["pid"].as_i64().expect("a pid").to_string();
    run_node(&dir, &[]).expect_error(1, &[path(&dir), "a node runs in this directory", &pid]);
    run(&["reseed", "--dir", path(&dir)]).expect_error(1, &["a node runs in this directory", &pid]);
    assert!(node.is_running());
    let (_temp, other) = scratch();
    let output = run_node(&other, &["--aeron-dir", path(&dir.join("aeron"))]);
    output.expect_error(1, &["cnc.dat", &pid, "choose another directory"]);
    let names: Vec<_> = fs::read_dir(&dir).expect("its directory").flatten().collect();
    assert!(names.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("before-reseed")));
    assert_eq!(node.terminate(), Some(0), "{}", node.output());
}

#[test]
fn reseed_where_no_node_has_run_changes_nothing() {
    let (temp, dir) = scratch();
    run(&["reseed", "--dir", path(&dir)]).expect_error(1, &[path(&dir), "no node has run here", "--dir"]);
    assert!(!dir.exists());
    run(&["reseed", "--dir", path(temp.path())]).expect_error(1, &["no node has run here"]);
    assert_eq!(fs::read_dir(temp.path()).expect("the directory").count(), 0);
}

#[test]
fn status_tells_no_node_from_a_node_that_ended_and_check_has_an_exit_code() {
    let (_temp, dir) = scratch();
    let status = |flags: &[&str]| run(&[&["status", "--dir", path(&dir)], flags].concat());
    status(&[]).expect_error(1, &[path(&dir), "cnc.dat", "is this the --dir of a node"]);
    status(&["--check"]).expect_error(1, &["is this the --dir of a node"]);
    status(&["--max-lag", "1"]).expect_error(2, &["--check"]);

    let mut node = Node::running(NodeFlags { dir: Some(dir.clone()), ..Default::default() });
    let check = status(&["--check", "--max-lag-bytes", "10", "--max-lag", "1.5"]);
    assert_eq!(check.code, Some(1));
    assert!(check.stdout.contains("state is BACKUP_QUERY, not FOLLOWING"), "{}", check.stdout);
    assert!(check.stdout.contains("lag_bytes") && check.stdout.contains("lag_ns"), "{}", check.stdout);
    status(&["--check", "--max-lag=-1"]).expect_error(1, &["--max-lag"]);
    assert_eq!(node.terminate(), Some(0), "{}", node.output());
    assert_eq!(status(&["--check"]).stdout, "state is DOWN, not FOLLOWING\n");
    assert!(status(&[]).stdout.contains("DOWN"));
}

#[test]
fn a_damaged_file_is_named_with_offset_and_next_step_and_left_as_it_is() {
    const SEGMENT_LENGTH: i32 = 64 * 1024;
    // What to damage, where, with what, and what must be said of it.
    let cases: [(&str, u64, &[u8], &[&str]); 4] = [
        ("cluster/recording.log", 44, &[9, 9, 9, 9], &["recording.log", "at offset 44", "reseed"]),
        ("archive/archive.catalog", 0, &[7, 7, 7, 7], &["archive.catalog", "at offset 0", "ArchiveTool"]),
        ("archive/archive.catalog", 32, &[0xff; 4], &["archive.catalog", "at offset 32", "reseed"]),
        ("archive/0-0.rec", 96, &[0x55; 40], &["0-0.rec", "damaged at offset 96", "reseed"]),
    ];
    for (file, offset, bytes, words) in cases {
        let (_temp, dir) = scratch();
        record_a_log(&dir, SEGMENT_LENGTH);
        let damaged = dir.join(file);
        let writable = OpenOptions::new().write(true).open(&damaged).expect(file);
        writable.write_all_at(bytes, offset).expect(file);
        let before = fs::read(&damaged).expect(file);
        let output = run_node(&dir, &[]);
        output.expect_error(1, words);
        assert!(output.stderr.contains(path(&damaged)), "the path in:\n{}", output.stderr);
        assert_eq!(fs::read(&damaged).expect(file), before, "{file} is left as it is");
        // The next step that was named works.
        let reseed = run(&["reseed", "--dir", path(&dir)]);
        assert_eq!(reseed.code, Some(0), "{reseed:?}");
        let mut node = Node::running(NodeFlags { dir: Some(dir), ..Default::default() });
        assert_eq!(node.terminate(), Some(0), "{}", node.output());
    }
}

#[test]
fn a_segment_that_is_gone_or_cut_is_named() {
    let (_temp, dir) = scratch();
    record_a_log(&dir, 64 * 1024);
    let segment = dir.join("archive/0-0.rec");
    OpenOptions::new().write(true).open(&segment).and_then(|file| file.set_len(100)).expect("cut");
    run_node(&dir, &[]).expect_error(1, &[path(&segment), "is 100 bytes long, expected 65536"]);
}

#[test]
fn a_log_that_is_sound_is_found_again() {
    let (_temp, dir) = scratch();
    let end = record_a_log(&dir, 64 * 1024);
    let mut node = Node::running(NodeFlags { dir: Some(dir), ..Default::default() });
    let status = node.await_status("applied", |status| status["applied_position"].as_i64() == Some(end));
    assert_eq!(status["recorded_position"].as_i64(), Some(end));
    assert_eq!(node.terminate(), Some(0), "{}", node.output());
}

#[test]
fn a_disk_that_is_full_at_the_start_is_an_error_and_the_node_starts_when_it_is_not() {
    const TEST: &str = "a_disk_that_is_full_at_the_start_is_an_error_and_the_node_starts_when_it_is_not";
    let Some(tmpfs) = Tmpfs::mount(TEST, "512k") else { return };
    let dir = tmpfs.path().join("node");
    let output = run_node(&dir, &[]);
    output
        .expect_error(1, &[path(tmpfs.path()), "No space left on device", "free space on this file system"]);
    tmpfs.remount("size=64m");
    let mut node = Node::running(NodeFlags { dir: Some(dir), ..Default::default() });
    assert_eq!(node.terminate(), Some(0), "{}", node.output());
}

#[test]
fn a_log_too_large_for_the_disk_fails_the_start_in_words_and_keeps_the_files() {
    const TEST: &str = "a_log_too_large_for_the_disk_fails_the_start_in_words_and_keeps_the_files";
    let Some(tmpfs) = Tmpfs::mount(TEST, "64m") else { return };
    let dir = tmpfs.path().join("node");
    // The segment is full to its end, so the next one must be made before anything can go on.
    let end = record_a_log_to(&dir, 64 * 1024, 64 * 1024);
    let filler = tmpfs.path().join("filler");
    let mut node = Node::running(NodeFlags { dir: Some(dir.clone()), ..Default::default() });
    assert_eq!(node.terminate(), Some(0), "{}", node.output());
    fs::remove_file(dir.join("archive").join("0-65536.rec")).expect("the empty next segment");
    fill(&filler);
    let output = run_node(&dir, &[]);
    output.expect_error(1, &["No space left on device", "free space on this file system"]);
    fs::remove_file(&filler).expect("the filler");
    let node = Node::running(NodeFlags { dir: Some(dir), ..Default::default() });
    node.await_status("applied", |status| status["applied_position"].as_i64() == Some(end));
}

#[test]
fn an_unwritable_standard_error_does_not_stop_a_node() {
    let (_temp, dir) = scratch();
    // A log on a full disk: /dev/full refuses every write.
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let endpoint = format!("127.0.0.1:{}", closed_port());
    let arguments = [
        "run",
        "--no-progress",
        "--host",
        "127.0.0.1",
        "--consensus-endpoints",
        &endpoint,
        "--dir",
        path(&dir),
    ];
    let child = Command::new(support::node::BINARY).args(arguments).stdout(full()).stderr(full()).spawn();
    let mut child = child.expect("the binary starts");
    let deadline = Instant::now() + support::node::TIMEOUT;
    while run(&["status", "--dir", path(&dir)]).code != Some(0) {
        assert!(Instant::now() < deadline && child.try_wait().expect("a child").is_none(), "it runs");
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    let closed = run_with(&["status", "--dir", path(&dir)], |command| {
        command.stdout(full());
    });
    assert!(!closed.stderr.contains("panicked"), "{}", closed.stderr);
    assert_eq!(closed.code, Some(1));
}

/// Writes until the disk is full, to the last page.
fn fill(file: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(file).expect("a filler");
    for length in [1 << 20, 4096] {
        while file.write_all(&vec![1; length]).is_ok() {}
    }
}

/// A node's directory with a log of one leadership term and a few messages; returns where it ends.
fn record_a_log(dir: &Path, segment_length: i32) -> i64 {
    record_a_log_to(dir, segment_length, 4096)
}

/// As [`record_a_log`], up to a position.
fn record_a_log_to(dir: &Path, segment_length: i32, end: i64) -> i64 {
    let directory = NodeDirectory::open(dir, 1).expect("a directory");
    let mut history = History::open(&directory, SyncLevel::None).expect("an empty history");
    let recording = Recording {
        recording_id: 0,
        start_timestamp: 1,
        stop_timestamp: -1,
        start_position: 0,
        stop_position: -1,
        initial_term_id: 0,
        segment_file_length: segment_length,
        term_buffer_length: 64 * 1024,
        mtu_length: 1408,
        session_id: 7,
        stream_id: 100,
        stripped_channel: "aeron:udp?endpoint=a:1".to_owned(),
        original_channel: "aeron:udp?endpoint=a:1".to_owned(),
        source_identity: "a:1".to_owned(),
    };
    let mut log = history.create_log(0, &recording, None).expect("a log").open().expect("its files");
    let term = NewLeadershipTermEvent {
        leadership_term_id: 0,
        log_position: 96,
        timestamp: 1,
        term_base_log_position: 0,
        leader_member_id: 0,
        log_session_id: 7,
        time_unit: ClusterTimeUnit::Millis,
        app_version: 1,
    };
    let mut message = Vec::new();
    term.encode(&mut message);
    let mut position = 0;
    while position < end {
        let frame = frame(position, &message);
        log.writer.append(position, &frame).expect("room");
        position += frame.len() as i64;
        // A template that readers pass over, so that nothing has to be consistent. With the first frame's 96 bytes
        // those of the next, and 64 from then on, a segment is filled to its last byte.
        message = vec![0, 0, 25, 0, 111, 0, 16, 0];
        message.resize(if position == 96 { 40 } else { 8 }, 0);
    }
    history.on_leadership_term(log.place.recording_id(), &term).expect("a row");
    history.close_log(log.place.recording_id(), position).expect("closed");
    position
}

fn frame(position: i64, payload: &[u8]) -> Vec<u8> {
    let header = DataHeader {
        frame_length: (HEADER_LENGTH + payload.len()) as i32,
        flags: UNFRAGMENTED,
        frame_type: FrameType::Data,
        term_offset: (position % (64 * 1024)) as i32,
        session_id: 7,
        stream_id: 100,
        term_id: (position / (64 * 1024)) as i32,
        reserved_value: 0,
    };
    let mut frame = header.encode().to_vec();
    frame.extend_from_slice(payload);
    frame.resize(frame.len().next_multiple_of(32), 0);
    frame
}

#[test]
fn a_core_that_is_not_there_is_told_before_anything_is_created() {
    let (_temp, dir) = scratch();
    for flags in [
        ["--receiver-core", "1000", "--layout", "shared"],
        ["--service-cores", "1000", "--layout", "dedicated"],
    ] {
        let output = run_node(&dir, &flags);
        let key = flags[0].trim_start_matches("--").replace('-', "_");
        output.expect_error(
            1,
            &[&format!("{key} = 1000"), "its cores are", "change the layout, or the cpuset"],
        );
        assert!(!output.stderr.contains("started"), "{}", output.stderr);
    }
    assert!(!dir.exists(), "nothing is created before everything is checked");
}

#[test]
fn a_start_that_fails_after_a_kill_does_not_keep_the_next_one_waiting() {
    let (_temp, dir) = scratch();
    let flags = || NodeFlags { dir: Some(dir.clone()), ..NodeFlags::default() };
    // Dropping a node kills it.
    drop(Node::running(flags()));
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = taken.local_addr().expect("its address").port().to_string();
    run_node(&dir, &["--port", &port]).expect_error(1, &[&port]);
    let mut node = Node::running(flags());
    assert_eq!(node.terminate(), Some(0), "{}", node.output());
}
