//! Workspaces: where they are made, who works in them, and that they go.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const IMPORTS: &str = r#"
    (import "sophon:skill/workspace@1.0.0" "write" (func $write (param i32 i32 i32 i32 i32)))
    (import "sophon:skill/workspace@1.0.0" "read" (func $read (param i32 i32 i32)))"#;
/// `a/b` with 1,000 bytes.
const EXTRA: &str = r#"(data (i32.const 600) "a/b")
    (func $put (call $write (i32.const 600) (i32.const 3) (i32.const 0) (i32.const 1000) (i32.const 704))
        (if (i32.load8_u (i32.const 704)) (then (unreachable))))"#;

fn lab(root: &Path, limits: Limits) -> Lab {
    let lab = Lab::new(limits);
    Lab { runtime: lab.runtime.with_workspaces_below(root), limits: lab.limits }
}

fn prepared(lab: &Lab, body: &str) -> PreparedSkill {
    let declared = manifest(r#", "permissions": {"filesystem": "workspace"}"#);
    lab.compile(&declared, &lift(&module(IMPORTS, EXTRA, body))).unwrap_or_else(|error| panic!("{error}"))
}

fn listed(root: &Path) -> Vec<std::fs::DirEntry> {
    std::fs::read_dir(root).map(|entries| entries.map(Result::unwrap).collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_workspace_is_made_below_the_root_for_nobody_else_and_gone_with_its_call() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/workspaces");
    let lab = lab(&root, Limits { fuel: u64::MAX / 2, ..small() });
    // The first call ends by itself; the second is dropped while it runs, so its folder goes in its own time.
    let report = lab.run(&prepared(&lab, "(call $put) (i32.const 1024)")).await;
    assert!(report.output.is_ok(), "{:?}", report.output);
    assert!(root.is_dir() && listed(&root).is_empty(), "the workspace outlived its call");

    let busy = prepared(&lab, "(call $put) (loop $again (br $again)) (unreachable)");
    let seen = tokio::select! {
        report = lab.run(&busy) => panic!("an endless loop came to an end: {:?}", report.output),
        seen = async {
            loop {
                if let [only] = &listed(&root)[..] && only.path().join("a/b").exists() {
                    return (only.metadata().unwrap().permissions().mode(), std::fs::read(only.path().join("a/b")));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => seen,
    };
    assert_eq!(seen.0 & 0o777, 0o700);
    for _ in 0..1_000 {
        if listed(&root).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the workspace of a dropped call stays");
}

#[tokio::test]
async fn files_are_worked_on_by_threads_that_may_block() {
    let folder = tempfile::tempdir().unwrap();
    let root = Some(folder.path().into());
    let mut host =
        Host::new(doors(), small(), sophon_egress::Deadline::at(Instant::now() + Duration::from_secs(20)), root);
    let here = std::thread::current().id();
    for _ in 0..3 {
        let there = host.in_workspace(|_workspace| Ok(std::thread::current().id())).await;
        assert!(there.is_ok_and(|there| there != here));
    }
    assert_eq!(listed(folder.path()).len(), 1, "each host call made a workspace of its own");
}

#[tokio::test]
async fn attack_20_what_is_read_counts_as_what_is_written_does() {
    let folder = tempfile::tempdir().unwrap();
    let lab = lab(folder.path(), Limits { hostcall_total_bytes: 10_000, ..small() });
    let reads = |count: u32| {
        format!(
            "(local $i i32) (call $put)
            (loop $again
                (call $read (i32.const 600) (i32.const 3) (i32.const 704))
                (if (i32.load8_u (i32.const 704)) (then (unreachable)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))
            (i32.const 1024)"
        )
    };
    let fits = lab.run(&prepared(&lab, &reads(8))).await;
    assert!(fits.output.is_ok(), "{:?}", fits.output);
    let over = lab.run(&prepared(&lab, &reads(9))).await.output.err();
    assert_eq!(over, Some(RunFailure::LimitExceeded { what: "more than 10000 bytes through host calls".into() }));
    assert!(listed(folder.path()).is_empty(), "the workspace of a call that failed stays");
}

#[test]
fn sweeping_removes_workspaces_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    assert_eq!(crate::sweep_workspaces(&root).unwrap(), 0);
    let (left, linked, file) = (
        "5e7e3a1c-0000-4000-8000-00000000000a",
        "5e7e3a1c-0000-4000-8000-00000000000b",
        "5e7e3a1c-0000-4000-8000-00000000000c",
    );
    std::fs::create_dir_all(root.join(left).join("a")).unwrap();
    std::fs::write(root.join(left).join("a/b"), b"left").unwrap();
    for other in ["mine", "5e7e3a1c-0000-4000-8000-00000000000", "5e7e3a1c-0000-4000-8000-00000000000-"] {
        std::fs::create_dir_all(root.join(other)).unwrap();
    }
    std::fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), root.join(linked)).unwrap();
    std::fs::write(root.join(file), b"a file").unwrap();
    assert_eq!(crate::sweep_workspaces(&root).unwrap(), 1);
    assert!(!root.join(left).exists() && listed(&root).len() == 5 && folder.path().join("elsewhere").is_dir());
}
