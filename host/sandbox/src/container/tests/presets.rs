//! Every preset is started, and everything that it forbids is tried from inside.

use super::*;
use serde_json::json;

/// Tries everything, and says what came of it.
const PROBE: &str = r##"
import errno, json, os, resource, socket, subprocess, threading, urllib.request
def outcome(work):
    try:
        return work() or "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    except Exception as error:
        return type(error).__name__
def status(name):
    with open("/proc/self/status") as lines:
        return next((line.split()[1] for line in lines if line.startswith(name + ":")), None)
def write(path, size=1):
    def work():
        with open(path, "wb") as file:
            for _ in range(0, size, 1 << 20):
                file.write(b"x" * min(size, 1 << 20))
                file.flush()
    return work
def execute():
    with open("/tmp/program", "wb") as file:
        file.write(b"#!/usr/bin/python3.11\n")
    os.chmod("/tmp/program", 0o755)
    subprocess.run(["/tmp/program"], stdin=subprocess.DEVNULL, timeout=5)
def spawn():
    subprocess.run(["/usr/bin/python3.11", "-I", "-S", "-c", "pass"], timeout=10, check=True)
def thread():
    running = threading.Thread(target=lambda: None)
    running.start()
    running.join()
def files():
    kept = []
    while True:
        kept.append(open("/dev/null"))
def fill():
    n = 0
    while True:
        n += 1
        with open(f"/tmp/{n}", "wb") as file:
            file.write(b"x" * (1 << 20))
def http():
    return str(urllib.request.urlopen("http://api.example.com/", timeout=10).status)
found = {
    "uid": os.getuid(), "groups": os.getgroups(), "gid": os.getgid(),
    "capabilities": [status(name) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")],
    "root": [outcome(write(path)) for path in ("/x", "/usr/x", "/etc/passwd", "/sophon/init", "/dev/x", "/proc/x")],
    "setuid": outcome(lambda: os.setuid(0)),
    "mount": outcome(lambda: os.mkdir("/sys/x")),
    "chroot": outcome(lambda: os.chroot("/tmp")),
    "raw": outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) and None),
    "packet": outcome(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW) and None),
    "priority": outcome(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999))),
    "execute": outcome(execute),
    "big_file": outcome(write("/tmp/big", 100 << 20)),
    "http": outcome(http),
    "spawn": outcome(spawn), "thread": outcome(thread),
    "own_code": outcome(write("/skill/own.py")),
    "files": outcome(files), "fill": outcome(fill),
    "processes": resource.getrlimit(resource.RLIMIT_NPROC)[1],
    "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
}
print(json.dumps(found))
"##;

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_each_preset_forbids_from_inside_what_its_table_says() {
    let Some(lab) = Lab::open().await else { return };
    for (column, preset) in ["minimal", "standard", "restricted", "locked-down"].into_iter().enumerate() {
        let limit = |name: &str| BOX_TABLE.iter().find(|row| row.limit == name).expect("a row").values[column];
        let found = lab.value(PROBE, &sandbox(preset, 30)).await;
        let at = format!("{preset}: {found}");
        assert_eq!((&found["uid"], &found["gid"]), (&json!(65534), &json!(65534)), "{at}");
        assert!(found["groups"].as_array().unwrap().iter().all(|group| *group == json!(65534)), "{at}");
        assert!(
            found["capabilities"].as_array().unwrap().iter().all(|set| set
                .as_str()
                .unwrap()
                .trim_matches('0')
                .is_empty()),
            "{at}"
        );
        for outcome in found["root"].as_array().unwrap() {
            assert!(["EROFS", "EACCES", "ENOENT", "EFBIG", "EPERM"].contains(&outcome.as_str().unwrap()), "{at}");
        }
        for name in ["setuid", "mount", "chroot", "raw", "packet", "priority", "files"] {
            assert_ne!(found[name], "done", "{name}: {at}");
        }
        assert_ne!(found["big_file"], "done", "{at}");
        assert_ne!(found["execute"], "done", "{at}");
        assert_ne!(found["fill"], "done", "{at}");
        assert_eq!(found["processes"], limit("processes"), "{at}");
        assert!(found["memory"].as_u64().unwrap() <= limit("memory"), "{at}");
        let open = preset != "locked-down";
        for name in ["spawn", "thread", "own_code"] {
            assert_eq!(found[name] == "done", open, "{name}: {at}");
        }
        assert_eq!(found["http"] == "200", open, "{at}");
    }
    assert_eq!(lab.web.seen.lock().len(), 3, "one request of each preset that has a network");
    assert_eq!(lab.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_46_cpu_is_given_by_the_preset() {
    let Some(lab) = Lab::open().await else { return };
    let limit = BOX_TABLE.iter().find(|row| row.limit == "cpu").expect("a row").values[2];
    let skill = lab.skill("while True:\n    pass", &sandbox("restricted", 10)).await;
    let open = lab.runtime.opened().await.unwrap();
    // What computes without end is held back by the kernel, and the engine counts how often; without a limit it never is.
    let held_back = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let Some(name) = open.engine.owned().await.unwrap().pop() else { continue };
            match open.engine.cpu(&name).await {
                Ok((given, held)) if held > 0 => return given,
                // Not started yet.
                Ok(_) | Err(_) => {}
            }
        }
    };
    let given = tokio::select! {
        given = held_back => given,
        ended = lab.call(&skill, "{}") => panic!("it was never held back: {:?}", ended.output),
    };
    assert_eq!(given, i64::try_from(limit).unwrap() * 1_000_000);
    assert_eq!(lab.left().await, 0);
}
