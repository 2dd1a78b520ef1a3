//! A home in a state that no host leaves: each is refused with a word that helps, or repaired; never a panic, and never a
//! new key in the place of one that is lost.

use crate::harness::{Behaviour, Gateway, Guest, Home, Key, Launch, Publisher};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A home with a history, its gateway stopped in order.
struct Used {
    home: Home,
    admin: Key,
    agent: Key,
    publisher: Publisher,
}

impl Used {
    fn new() -> Self {
        let (home, mut gateway, publisher) = Gateway::trusting("Good Co", 1);
        for name in ["one", "two"] {
            gateway.installed(&publisher.sign(&Self::guest(name)), &[]);
        }
        gateway.connect("svc", "a-secret-of-this-home-4711");
        let (admin, agent) = (gateway.admin_key().clone(), gateway.agent());
        gateway.content(&agent, "one.run", json!({}));
        assert!(gateway.stop().success());
        Self { home, admin, agent, publisher }
    }

    fn guest(name: &'static str) -> Guest {
        Guest::new(name, Behaviour::Return(format!("\"{name}\"").into_bytes()))
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.home.path().join(inside)
    }

    /// Starts it; everything of before is there.
    #[track_caller]
    fn works(&self) -> Gateway {
        let gateway = Gateway::again(&self.home, &self.admin);
        for name in ["one", "two"] {
            gateway.content(&self.agent, &format!("{name}.run"), json!({}));
        }
        assert_eq!(gateway.admin("GET", "/v1/audit/verify", None).expect(200)["intact"], true);
        assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
        gateway
    }

    /// Damages a file, checks that the gateway refuses to start with `code` and touches nothing, and puts the file back.
    #[track_caller]
    fn refuses(&self, inside: &str, damage: impl FnOnce(&Path), code: &str) {
        let path = self.path(inside);
        let good = std::fs::read(&path).expect("the file");
        damage(&path);
        let damaged = std::fs::read(&path).ok();
        let error = Launch::new(&self.home, &[]).refused();
        assert_eq!(error["code"], code, "{inside}: {error}");
        assert_eq!(std::fs::read(&path).ok(), damaged, "{inside} was touched");
        put_back(&path, &good);
    }
}

/// With the same rights: written into the file that is there, or into a copy of one that is.
fn put_back(path: &Path, bytes: &[u8]) {
    if !path.exists() {
        std::fs::copy(path.with_file_name("code-cache"), path).map(drop).unwrap_or_default();
    }
    std::fs::write(path, bytes).expect("the file");
}

fn cut_to(length: u64) -> impl Fn(&Path) {
    move |path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).expect("the file");
        file.set_len(length).expect("it is cut");
    }
}

fn remove(path: &Path) {
    std::fs::remove_file(path).expect("the file");
}

#[test]
fn a_key_file_that_is_damaged_or_gone_is_never_replaced() {
    let used = Used::new();
    for key in ["kek", "audit-signing", "audit-hash"] {
        let inside = format!("keys/{key}");
        used.refuses(&inside, cut_to(0), "key_file_invalid");
        used.refuses(&inside, cut_to(20), "key_file_invalid");
        used.refuses(&inside, remove, "key_file_missing");
    }
    used.refuses("keys/code-cache", cut_to(0), "key_file_invalid");
    drop(used.works());
    // What this key protects can be made again.
    remove(&used.path("keys/code-cache"));
    drop(used.works());
}

#[test]
fn a_database_that_is_cut_off_damaged_or_gone_is_not_taken_for_a_new_one() {
    let used = Used::new();
    let size = std::fs::metadata(used.path("sophon.db")).expect("the database").len();
    used.refuses("sophon.db", cut_to(0), "database_lost");
    used.refuses("sophon.db", remove, "database_lost");
    used.refuses("sophon.db", cut_to(size / 2), "store_corrupt");
    used.refuses("sophon.db", cut_to(4096), "store_corrupt");
    used.refuses("sophon.db", |path| std::fs::write(path, vec![0xa5; 64 << 10]).expect("garbage"), "store_corrupt");
    drop(used.works());
}

#[test]
fn what_is_damaged_in_the_compiled_cache_is_made_again() {
    let used = Used::new();
    let folder = used.path("cache/compiled");
    let codes = || -> Vec<PathBuf> {
        std::fs::read_dir(&folder).expect("the cache").map(|entry| entry.expect("an entry").path()).collect()
    };
    let good: Vec<_> = codes().into_iter().map(|path| (std::fs::read(&path).expect("code"), path)).collect();
    assert!(good.len() >= 2);
    let damages: [&dyn Fn(&Path); 3] = [&cut_to(0), &cut_to(1000), &|path: &Path| {
        std::fs::write(path, vec![0x5a; 5000]).expect("garbage");
    }];
    for damage in damages {
        codes().iter().for_each(|path| damage(path));
        std::fs::write(folder.join("half.4711.partial"), "half").expect("a half-written file");
        drop(used.works());
        for (code, path) in &good {
            assert_eq!(std::fs::read(path).expect("code").len(), code.len(), "{} was not made again", path.display());
        }
        assert!(!folder.join("half.4711.partial").exists());
    }
    // A folder where a file should be, and under the name of a half-written one.
    std::fs::create_dir(folder.join("odd.4711.partial")).expect("a folder");
    for path in codes().iter().filter(|path| path.is_file()) {
        remove(path);
        std::fs::create_dir(path).expect("a folder");
    }
    drop(used.works());
}

#[test]
fn a_package_that_is_half_there_breaks_its_own_skill_only_and_is_mended_by_installing_it() {
    let used = Used::new();
    let package = used.publisher.sign(&Used::guest("one"));
    let blobs = used.home.files_with(&package.package);
    assert_eq!(blobs.len(), 1, "{blobs:?}");
    cut_to(100)(&blobs[0]);
    let half = PathBuf::from(format!("{}#1", blobs[0].display()));
    std::fs::write(&half, "half").expect("a half-written blob");
    let gateway = Gateway::again(&used.home, &used.admin);
    assert!(!half.exists());
    let broken = gateway.admin("GET", "/v1/skills/one", None).expect(200)["broken"].clone();
    assert_eq!(broken["code"], "store_corrupt", "{broken}");
    gateway.call(&used.agent, "one.run", json!({})).problem(404, "unknown_tool");
    gateway.content(&used.agent, "two.run", json!({}));
    gateway.install(&package, json!({"accept_changes": true})).expect(201);
    gateway.content(&used.agent, "one.run", json!({}));
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn what_a_killed_process_left_lying_about_is_gone_after_the_next_start() {
    let used = Used::new();
    let left = [
        "keys/kek.4711.new",
        "identities/ann.key.4712.new",
        "run/gateway.json.0123456789abcdef.new",
        "cache/compiled/half.4713.partial",
        "run/workspaces/0f8fad5b-d9cb-469f-a165-70867728950e/note",
    ];
    for inside in left {
        std::fs::create_dir_all(used.path(inside).parent().expect("a folder")).expect("a folder");
        std::fs::write(used.path(inside), "half").expect("a file");
    }
    std::fs::write(used.path("run/gateway.json"), "{\"address\":").expect("half a run");
    let beside = used.home.beside("port.0123456789abcdef.new");
    std::fs::write(&beside, "47").expect("half a port");
    let gateway = used.works();
    for inside in left {
        assert!(!used.path(inside).exists(), "{inside} is still there");
    }
    assert!(!used.path("run/workspaces/0f8fad5b-d9cb-469f-a165-70867728950e").exists());
    assert!(!beside.exists());
    drop(gateway);
}
