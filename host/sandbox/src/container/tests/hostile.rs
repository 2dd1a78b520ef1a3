//! What a hostile native skill tries, each under real gVisor, each with an error of its own.

use super::*;
use crate::RunFailure;
use serde_json::json;
use sophon_types::Fault as _;
use std::time::Duration;

async fn ends_as(source: &str, extra: &str, code: &str, part: &str) {
    let Some(lab) = Lab::open().await else { return };
    let failure = lab.failure(source, extra).await;
    assert_eq!(failure.code(), code, "{failure:?}");
    assert!(failure.to_string().contains(part), "{failure}");
    assert_eq!(lab.left().await, 0, "something of it is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_forks_without_end_hits_its_own_limit() {
    let bomb = "import os\nwhile True:\n    os.fork()";
    ends_as(bomb, "", "limit_exceeded", "12 processes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_fork_bomb_that_carries_on_is_ended_and_named() {
    let bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass";
    // Its time begins with its sandbox, and a busy machine takes seconds to make one.
    ends_as(bomb, &sandbox("restricted", 10), "limit_exceeded", "6 processes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_fills_memory_is_out_of_memory() {
    // The whole sandbox dies, with status 1: only the engine knows of what.
    let hog = "kept = []\nwhile True:\n    kept.append(bytearray(b'x') * (8 << 20))";
    ends_as(hog, "", "out_of_memory", "256 MiB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_fills_its_disk_hits_the_workspaces_size() {
    let hog = "n = 0\nwhile True:\n    n += 1\n    with open(f'/tmp/{n}', 'wb') as file:\n        file.write(b'x' * (4 << 20))";
    ends_as(hog, "", "limit_exceeded", "64 MiB of files").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_floods_its_output_is_ended() {
    ends_as("while True:\n    print('x' * 65536)", "", "limit_exceeded", "bytes of standard output").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_floods_its_errors_is_bounded() {
    let Some(lab) = Lab::open().await else { return };
    let flood = "import sys\nfor _ in range(300):\n    print('x' * 65536, file=sys.stderr)\nprint(1)";
    let report = lab.report(flood, "").await;
    assert!(report.logs.iter().map(|line| line.message.len()).sum::<usize>() <= 64 << 10);
    assert!(report.logs_dropped > 0);
    assert_eq!(value(report), json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_takes_for_ever_is_ended_in_time() {
    let Some(lab) = Lab::open().await else { return };
    let started = std::time::Instant::now();
    let failure = lab.failure("while True:\n    pass", &sandbox("standard", 2)).await;
    assert!(matches!(failure, RunFailure::DeadlineExceeded { .. }), "{failure:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(lab.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_ignores_sigterm_is_gone_as_well() {
    let stubborn = "import signal, time\nfor number in range(1, 32):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n    \
                    except OSError:\n        pass\nwhile True:\n    time.sleep(1)";
    ends_as(stubborn, &sandbox("standard", 2), "deadline_exceeded", "longer than the 2 s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_two_json_values_are_no_result() {
    ends_as("print(1)\nprint(2)", "", "bad_result", "more than one JSON value").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_no_json_value_is_no_result() {
    ends_as("pass", "", "bad_result", "printed nothing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_exits_with_another_status_has_failed_whatever_it_printed() {
    let leaves = "import sys\nprint(1)\nprint('it was this', file=sys.stderr)\nsys.exit(3)";
    ends_as(leaves, "", "skill_exited", "with status 3: it was this").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_there_is_no_engine_to_speak_to_inside() {
    let Some(lab) = Lab::open().await else { return };
    let source = r#"
import json, os, socket
found = {}
for path in ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"]:
    wire = socket.socket(socket.AF_UNIX)
    try:
        wire.connect(path)
        found[path] = "reached"
    except OSError as error:
        found[path] = type(error).__name__
found["named"] = [name for name in os.environ if "DOCKER" in name or "CONTAINER" in name]
print(json.dumps(found))
"#;
    let found = lab.value(source, "").await;
    assert_eq!(found["named"], json!([]), "{found}");
    for (path, how) in found.as_object().unwrap().iter().filter(|(path, _)| path.starts_with('/')) {
        assert_eq!(how, "FileNotFoundError", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_garbage_on_the_channel_ends_the_call() {
    // The first process is the skill's own user's: its pipes can be reached, and nothing that comes by them is believed.
    let garbage = "import os, time\nfd = os.open('/proc/1/fd/1', os.O_WRONLY)\nwhile True:\n    os.write(fd, b'\\xff' * 4096)\n    \
                   time.sleep(0.01)";
    ends_as(garbage, "", "sandbox_broken", "no frame begins with 0xff").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_forged_frames_give_no_more_than_a_skill_can_print() {
    let Some(lab) = Lab::open().await else { return };
    // An end with status 0, forged: the output is the skill's own all the same.
    let forged = "import os, struct, time\nfd = os.open('/proc/1/fd/1', os.O_WRONLY)\n\
                  os.write(fd, struct.pack('>BII', 17, 0, 2) + b'42' + struct.pack('>BII', 19, 0, 9) + bytes(8) + b'\\x01')\n\
                  time.sleep(60)";
    let report = lab.report(forged, "").await;
    assert_eq!(value(report), json!(42));
    // A connection that nobody opened, and one too many.
    let many = "import os, struct, time\nfd = os.open('/proc/1/fd/1', os.O_WRONLY)\n\
                os.write(fd, struct.pack('>BII', 33, 9, 1) + b'x')\n\
                for n in range(100):\n    os.write(fd, struct.pack('>BII', 32, n + 1, 0))\ntime.sleep(60)";
    let failure = lab.failure(many, "").await;
    assert_eq!(failure.code(), "sandbox_broken", "{failure:?}");
    assert_eq!(lab.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_a_skill_that_opens_sockets_is_told_of_the_proxy() {
    let Some(lab) = Lab::open().await else { return };
    for source in [
        "import socket\nsocket.create_connection(('93.184.215.14', 80), timeout=5)",
        "import socket\nsocket.getaddrinfo('api.example.com', 443)",
        "import smtplib\nsmtplib.SMTP('mail.example.com', timeout=5)",
    ] {
        let failure = lab.failure(source, "").await;
        assert_eq!(failure.code(), "sockets_not_allowed", "{source}: {failure}");
        assert!(failure.hint().unwrap().contains("HTTP_PROXY"));
    }
    assert!(lab.web.seen.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_the_metadata_address_and_the_hosts_ports_are_out_of_reach() {
    let Some(lab) = Lab::open().await else { return };
    // A port of this host's, on every address that it has: inside, loopback is another one.
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let source = format!(
        r#"
import json, socket
found = {{}}
for host in ["169.254.169.254", "127.0.0.1", "172.17.0.1", "10.0.0.1", "192.168.0.1"]:
    for port in [80, {port}]:
        try:
            socket.create_connection((host, port), timeout=2).close()
            found[f"{{host}}:{{port}}"] = "reached"
        except OSError as error:
            found[f"{{host}}:{{port}}"] = type(error).__name__
with open("/proc/net/dev") as devices:
    found["devices"] = [line.split(":")[0].strip() for line in devices if ":" in line]
print(json.dumps(found))
"#
    );
    let found = lab.value(&source, "").await;
    let reached: Vec<_> = found.as_object().unwrap().iter().filter(|(_, how)| **how == json!("reached")).collect();
    assert!(reached.is_empty(), "{reached:?}");
    assert_eq!(found["devices"], json!(["lo"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_nothing_of_the_host_is_seen_in_proc_or_on_disk() {
    let Some(lab) = Lab::open().await else { return };
    let source = r#"
import json, os, stat
def names(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        return type(error).__name__
sockets = []
for folder, _, files in os.walk("/", topdown=True):
    if folder.startswith(("/proc", "/sys")):
        continue
    for name in files:
        path = os.path.join(folder, name)
        if name.endswith(".sock") or stat.S_ISSOCK(os.lstat(path).st_mode):
            sockets.append(path)
commands = {}
for pid in names("/proc"):
    if pid.isdigit():
        with open(f"/proc/{pid}/cmdline") as line:
            commands[pid] = line.read().split("\0")[0]
devices = names("/dev")
def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return type(error).__name__
secrets = {path: read(path) for path in ["/proc/kcore", "/proc/1/environ", "/proc/sysrq-trigger", "/etc/shadow"]}
print(json.dumps({"sockets": sockets, "commands": commands, "devices": devices, "secrets": secrets,
                  "environment": dict(os.environ), "root": names("/")}))
"#;
    let found = lab.value(source, "").await;
    assert_eq!(found["sockets"], json!([]), "{found}");
    let commands: Vec<&str> =
        found["commands"].as_object().unwrap().values().filter_map(|line| line.as_str()).collect();
    assert_eq!(commands, ["/sophon/init", "/usr/bin/python3.11"], "{found}");
    for device in ["sda", "vda", "mem", "kmsg", "kvm"] {
        assert!(!found["devices"].as_array().unwrap().contains(&json!(device)), "{found}");
    }
    assert_eq!(found["secrets"]["/etc/shadow"], "FileNotFoundError", "{found}");
    for (name, _) in found["environment"].as_object().unwrap() {
        let known = [
            "PATH", "HOME", "TMPDIR", "LANG", "SSL", "PYTHON", "PIP", "NODE", "REQUESTS", "CURL", "GIT", "AWS", "HTTP",
            "http", "LC",
        ];
        assert!(known.iter().any(|prefix| name.starts_with(prefix)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_nothing_of_one_call_is_there_in_the_next() {
    let Some(lab) = Lab::with(|config| ContainerConfig { warm: 1, ..config }).await else { return };
    let source = r#"
import json, os
before = sorted(os.listdir("/tmp")) + [name for name in ("left",) if name in os.environ]
open("/tmp/left", "w").write("x")
open("/skill/left.py", "w").write("x = 1")
os.environ["left"] = "x"
print(json.dumps({"before": before, "code": sorted(os.listdir("/skill"))}))
"#;
    let skill = lab.skill(source, "").await;
    for _ in 0..3 {
        let found = value(lab.call(&skill, "{}").await);
        assert_eq!(found, json!({"before": [], "code": ["left.py", "main.py"]}));
    }
    lab.runtime.close().await;
}
