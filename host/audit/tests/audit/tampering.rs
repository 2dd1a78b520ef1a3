//! What is changed behind the log's back is found; an export proves itself.

use super::*;

#[tokio::test]
async fn attack_43_every_change_behind_the_logs_back_is_found() {
    let cases = [
        ("UPDATE audit SET body = replace(body, 'ann', 'bob') WHERE seq = 3", "its body was changed"),
        ("UPDATE audit SET body = NULL WHERE seq = 3", "its body is missing"),
        ("UPDATE audit SET body_digest = zeroblob(32) WHERE seq = 3", "its hash is wrong"),
        ("UPDATE audit SET prev = zeroblob(32) WHERE seq = 3", "does not follow"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 3", "its hash is wrong"),
        ("UPDATE audit SET time = 0 WHERE seq = 3", "the column time was changed"),
        ("UPDATE audit SET tenant = 'x' WHERE seq = 3", "the column tenant was changed"),
        ("UPDATE audit SET tenant = NULL WHERE seq = 3", "the column tenant was changed"),
        ("UPDATE audit SET user_id = 'x' WHERE seq = 3", "the column user was changed"),
        ("UPDATE audit SET action = 'call.outcome' WHERE seq = 3", "the column action was changed"),
        ("UPDATE audit SET action = 'call.imagined' WHERE seq = 3", "unknown action"),
        ("UPDATE audit SET tool = 'x' WHERE seq = 3", "the column tool was changed"),
        ("UPDATE audit SET outcome = 'ok' WHERE seq = 3", "the column outcome was changed"),
        ("UPDATE audit SET outcome = 'fine' WHERE seq = 3", "unknown outcome"),
        ("UPDATE audit SET correlation = NULL WHERE seq = 3", "the column correlation was changed"),
        ("UPDATE audit SET call_id = 'x' WHERE seq = 3", "the column call was changed"),
        ("UPDATE audit SET writer = 'x' WHERE seq = 3", "the row is missing"),
        ("DELETE FROM audit WHERE seq = 3", "the row is missing"),
        ("DELETE FROM audit WHERE seq BETWEEN 3 AND 6", "4 rows from here on are missing"),
        ("DELETE FROM audit WHERE seq = 1", "the row is missing"),
        ("DELETE FROM audit WHERE seq > 8", "it was truncated"),
        ("DELETE FROM audit", "it was truncated"),
        // Two rows change places, in the chain or in the order of arrival.
        (
            "UPDATE audit SET seq = 99 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; \
             UPDATE audit SET seq = 4 WHERE seq = 99",
            "does not follow",
        ),
        (
            "UPDATE audit SET position = 0 WHERE seq = 3; UPDATE audit SET position = 3 WHERE seq = 4; \
             UPDATE audit SET position = 4 WHERE seq = 3",
            "reordered",
        ),
        (
            "INSERT INTO audit SELECT 99, writer, 11, time, tenant, user_id, action, tool, outcome, correlation, call_id, \
          body, body_digest, prev, hash FROM audit WHERE seq = 10",
            "does not follow",
        ),
        (
            "UPDATE audit_checkpoints SET signature = zeroblob(64) WHERE number = 1",
            "signature of checkpoint 1 is wrong",
        ),
        ("UPDATE audit_checkpoints SET time = 0 WHERE number = 1", "signature of checkpoint 1 is wrong"),
        ("UPDATE audit_checkpoints SET seq = 4 WHERE number = 1", "signature of checkpoint 1 is wrong"),
        ("DELETE FROM audit_checkpoints WHERE number = 1", "checkpoint 1 is missing"),
        ("DELETE FROM audit_checkpoints", "no checkpoint of this home's key covers the chain"),
        ("DELETE FROM audit_checkpoints WHERE number > 1", "9 rows from here on are not signed"),
        // Rows that are in no chain: nothing follows them, and they follow nothing.
        (&forged(0), "a row claims the place 0, before the first"),
        (&forged(-7), "a row claims the place -7, before the first"),
        (&forged(0), "11 rows stand here or before, the chain has 10"),
        (
            "INSERT INTO audit SELECT 99, 'ghost', seq, time, tenant, user_id, action, tool, outcome, correlation, \
             call_id, body, body_digest, prev, hash FROM audit WHERE seq = 1",
            "no checkpoint of this home's key covers the chain",
        ),
    ];
    let original = tempfile::tempdir().unwrap();
    ten(original.path()).await;
    let found = verify(original.path()).await;
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.records, found.checkpoints), (10, 3));
    assert!(found.unsigned.is_empty());
    for (statements, expected) in cases {
        let folder = copy(&original);
        sql(folder.path(), statements).await;
        let found = verify(folder.path()).await;
        assert!(found.problems.iter().any(|problem| problem.what.contains(expected)), "{statements}: {found:?}");
    }
}

/// A statement that adds a row at a place that no chain has, with a body that says who did it.
fn forged(seq: i64) -> String {
    format!(
        "PRAGMA ignore_check_constraints = ON; INSERT INTO audit SELECT 99, writer, {seq}, time, tenant, user_id, \
         action, tool, outcome, correlation, call_id, replace(body, 'ann', 'eve'), body_digest, prev, hash \
         FROM audit WHERE seq = 10"
    )
}

#[tokio::test]
async fn attack_43_a_forged_row_is_not_stored_not_shown_and_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    ten(folder.path()).await;
    let mut connection = aside(folder.path()).await;
    for seq in [0, -1] {
        let plain = forged(seq).replace("PRAGMA ignore_check_constraints = ON; ", "");
        assert!(sqlx::raw_sql(AssertSqlSafe(plain)).execute(&mut connection).await.is_err(), "{seq} is stored");
    }
    for seq in [0, -1] {
        let folder = copy(&folder);
        sql(folder.path(), &forged(seq)).await;
        let reader = AuditReader::new(store(folder.path()).await, keys().public_key());
        let entries = reader.tail(None, 100).await.unwrap();
        assert_eq!(entries.len(), 10);
        assert!(entries.iter().all(|entry| entry.suspect.is_none() && entry.record["user"] == "ann"));
        assert!(!reader.verify().await.unwrap().is_intact());
    }
    // A row whose hash or body does not fit is shown as what it is.
    for (statement, expected) in [
        ("UPDATE audit SET body = replace(body, 'ann', 'eve') WHERE seq = 10", "its body was changed"),
        ("UPDATE audit SET seq = 12 WHERE seq = 10", "its hash is wrong"),
    ] {
        let folder = copy(&folder);
        sql(folder.path(), statement).await;
        let reader = AuditReader::new(store(folder.path()).await, keys().public_key());
        let entries = reader.tail(None, 100).await.unwrap();
        assert!(entries[9].suspect.unwrap().contains(expected), "{statement}: {entries:?}");
        assert!(entries[..9].iter().all(|entry| entry.suspect.is_none()));
    }
}

/// Whoever may write the file can replace the whole log, checkpoints and all, by one that holds together.
#[tokio::test]
async fn attack_43_a_log_rewritten_without_its_checkpoints_is_found() {
    let (forged, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ten(folder.path()).await;
    let kept = verify(folder.path()).await.anchors;
    assert_eq!(kept.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [10]);
    let config = AuditConfig { keys: AuditKeys::new([66; 32], [8; 32]), ..config(5) };
    let log = AuditLog::open(config, store(forged.path()).await, clock(1)).await.unwrap();
    for n in 11..=20 {
        log.append(record(n)).await.unwrap();
    }
    log.close().await.unwrap();
    sql(forged.path(), "DELETE FROM audit_checkpoints").await;
    let found = verify(forged.path()).await;
    assert!(found.problems.iter().any(|problem| problem.what.contains("no checkpoint")), "{found:?}");
    assert_eq!((found.unsigned[0].from, found.unsigned[0].rows), (1, 10));
    let refused = open(forged.path(), 5).await.unwrap_err();
    assert_eq!(refused.code(), "audit_broken", "{refused}");
    let refused = open(forged.path(), 1000).await.unwrap_err();
    assert_eq!(refused.code(), "audit_broken", "{refused}");
    let lines = export(forged.path(), ExportScope::Everything).await;
    assert!(!verify_export(lines.as_bytes(), Some(&keys().public_key())).unwrap().is_intact());

    // What was kept elsewhere tells, also where what is left is signed.
    let reader = async |folder: &Path| AuditReader::new(store(folder).await, keys().public_key());
    let whole = reader(folder.path()).await.verify_against(&kept[0]).await.unwrap();
    assert!(whole.is_intact(), "{whole:?}");
    let shorter = copy(&folder);
    sql(shorter.path(), "DELETE FROM audit WHERE seq > 6; DELETE FROM audit_checkpoints WHERE number > 2").await;
    assert!(verify(shorter.path()).await.is_intact(), "by itself it holds together");
    let gone = copy(&folder);
    sql(gone.path(), "DELETE FROM audit; DELETE FROM audit_checkpoints").await;
    for (folder, expected) in [
        (shorter.path(), "truncated"),
        (gone.path(), "truncated"),
        (forged.path(), "it is not the row that the kept checkpoint was signed for"),
    ] {
        let found = reader(folder).await.verify_against(&kept[0]).await.unwrap();
        assert!(found.problems.iter().any(|problem| problem.what.contains(expected)), "{expected}: {found:?}");
    }
    let mut other = kept[0].clone();
    other.seq = 6;
    let found = reader(folder.path()).await.verify_against(&other).await.unwrap();
    assert!(found.problems[0].what.contains("is not signed by this home's key"), "{found:?}");
}

/// Rows that follow a checkpoint are normal, but neither many nor old.
#[tokio::test]
async fn attack_43_rows_that_no_checkpoint_covers_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    for n in 0..4 {
        log.append(record(n)).await.unwrap();
    }
    let found = log.verify().await.unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.unsigned[0].from, found.unsigned[0].rows), (2, 3));
    let now = Arc::new(Steps { now: AtomicI64::new(1_769_850_000_000_000 + 301_000_000), step: 0 });
    let late = AuditReader::new(store(folder.path()).await, keys().public_key()).expecting(1000, now);
    let found = late.verify().await.unwrap();
    assert!(found.problems[0].what.contains("have not been signed for long"), "{found:?}");
    let few = AuditReader::new(store(folder.path()).await, keys().public_key()).expecting(2, clock(0));
    let found = few.verify().await.unwrap();
    assert!(found.problems[0].what.contains("3 rows from here on are not signed"), "{found:?}");
    let refused = open(folder.path(), 2).await.unwrap_err();
    assert_eq!(refused.code(), "audit_broken", "{refused}");
}

/// Hashes carry no key, so whoever may write the file can make a new, consistent chain; the signatures tell.
#[tokio::test]
async fn attack_43_a_rewritten_chain_contradicts_its_checkpoints() {
    let (forged, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ten(folder.path()).await;
    // Ten other records with the same code but another signing key, under the real checkpoints.
    let keys = AuditKeys::new([66; 32], [8; 32]);
    let config = AuditConfig { keys, ..config(5) };
    let log = AuditLog::open(config, store(forged.path()).await, clock(1)).await.unwrap();
    for n in 11..=20 {
        log.append(record(n)).await.unwrap();
    }
    log.close().await.unwrap();
    let real = folder.path().join("sophon.db").display().to_string();
    let keep = "DELETE FROM audit_checkpoints; INSERT INTO audit_checkpoints SELECT * FROM real.audit_checkpoints";
    sql(forged.path(), &format!("ATTACH '{real}' AS real; {keep}")).await;
    let found = verify(forged.path()).await;
    assert!(found.problems.iter().any(|problem| problem.what.contains("not the row that a checkpoint was signed for")));
    let refused = open(forged.path(), 5).await.unwrap_err();
    assert!(matches!(refused, AuditError::Broken { seq: 10, .. }), "{refused}");
}

#[tokio::test]
async fn attack_43_a_log_that_contradicts_its_checkpoint_is_not_continued() {
    let cases = [
        ("DELETE FROM audit WHERE seq > 8", "audit_truncated"),
        ("DELETE FROM audit", "audit_truncated"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 10", "audit_broken"),
        ("UPDATE audit_checkpoints SET signature = zeroblob(64) WHERE number = 3", "audit_broken"),
        // After the last checkpoint, the rows have to follow from it.
        ("DELETE FROM audit_checkpoints WHERE number = 3; DELETE FROM audit WHERE seq = 7", "audit_broken"),
        ("DELETE FROM audit_checkpoints WHERE number > 1", "audit_broken"),
        ("DELETE FROM audit_checkpoints", "audit_broken"),
        ("DELETE FROM audit_checkpoints WHERE number = 3; UPDATE audit SET body = '{}' WHERE seq = 7", "audit_broken"),
    ];
    let original = tempfile::tempdir().unwrap();
    ten(original.path()).await;
    for (statements, code) in cases {
        let folder = copy(&original);
        sql(folder.path(), statements).await;
        let refused = open(folder.path(), 5).await.unwrap_err();
        assert_eq!(refused.code(), code, "{statements}: {refused}");
        assert!(refused.hint().unwrap().contains("sophon audit verify"));
        assert!(!verify(folder.path()).await.is_intact());
    }
    // With the wrong keys nothing is continued either.
    let keys = AuditKeys::new([1; 32], [8; 32]);
    let other = AuditConfig { keys, ..config(5) };
    let refused = AuditLog::open(other, store(original.path()).await, clock(1)).await.unwrap_err();
    assert_eq!(refused.code(), "audit_broken");
}

#[tokio::test]
async fn attack_43_an_export_proves_itself_and_shows_truncation() {
    let folder = tempfile::tempdir().unwrap();
    ten(folder.path()).await;
    let key = keys().public_key();
    let check = |lines: &str, key: Option<&[u8; 32]>| verify_export(lines.as_bytes(), key);

    let lines = export(folder.path(), ExportScope::Everything).await;
    let found = check(&lines, Some(&key)).unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.records, found.checkpoints, found.withheld), (10, 3, 0));
    assert!(check(&lines, None).unwrap().is_intact());
    assert!(!check(&lines, Some(&[9; 32])).unwrap().is_intact(), "another key");

    // One tenant's view: the others' bodies are withheld, and the chain still holds.
    let own = export(folder.path(), ExportScope::Tenant(name("default"))).await;
    assert!(own.contains("\"default\"") && !own.contains("\"other\""));
    let found = check(&own, Some(&key)).unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.records, found.withheld), (10, 5));

    // Leave out any one line, or change any one character of a body: it shows, or it is no export any more.
    let all: Vec<&str> = lines.lines().collect();
    for left_out in 0..all.len() {
        let rest: Vec<&str> = all.iter().enumerate().filter(|(n, _)| *n != left_out).map(|(_, line)| *line).collect();
        let outcome = check(&rest.join("\n"), Some(&key));
        assert!(
            outcome.is_err() || !outcome.as_ref().unwrap().is_intact(),
            "line {left_out} is not missed: {outcome:?}"
        );
    }
    for (from, to) in [("\"user\":\"ann\"", "\"user\":\"bob\""), ("\"seq\":4", "\"seq\":5"), ("\"n\":7", "\"n\": 7")] {
        let outcome = check(&lines.replacen(from, to, 1), Some(&key)).unwrap();
        assert!(!outcome.is_intact(), "{from} → {to}");
    }
    // The last line is signed by no line behind it: a byte of it that says the same in another way shows as well.
    let end = lines[..lines.len() - 1].rfind('\n').unwrap() + 1;
    let respelled = (end..lines.len()).map(|at| {
        let mut changed = lines.clone().into_bytes();
        changed[at] ^= 0x20;
        String::from_utf8(changed).unwrap()
    });
    let ends = ["", " ", "\r\n", "\n\n"].map(|end| format!("{}{end}", lines.trim_end()));
    for changed in respelled.chain(ends) {
        let outcome = check(&changed, Some(&key));
        assert!(outcome.is_err() || !outcome.as_ref().unwrap().is_intact(), "{}", &changed[end..]);
    }
    for (broken, line) in [("", 1), ("{}\n", 1), (&*lines.replacen("\"type\":\"record\"", "\"type\":\"x\"", 1), 5)] {
        match check(broken, None) {
            Err(AuditError::Export { line: found, .. }) => assert_eq!(found, line),
            other => panic!("{other:?}"),
        }
    }

    // A row is withheld although everything was exported; one more is withheld; the end is forged or cut off.
    let end = all.len() - 1;
    let without_body = |text: &str, n: usize| -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = lines.iter().enumerate().filter(|(_, line)| line.contains("\"body\":")).nth(n).unwrap().0;
        let cut = lines[at].find(",\"body\":").unwrap();
        lines[at] = format!("{}}}", &lines[at][..cut]);
        lines.join("\n")
    };
    let other_key = AuditReader::with_keys(store(folder.path()).await, &AuditKeys::new([66; 32], [8; 32]));
    let mut resigned = other_key.export(ExportScope::Everything, Timestamp::from_micros(0));
    let mut forged_end = String::new();
    while let Some(chunk) = resigned.next_chunk().await.unwrap() {
        forged_end.push_str(&chunk);
    }
    for (name, text, expected) in [
        ("a body is cut out", without_body(&lines, 3), "its body is missing"),
        ("a body is cut out, of a whole", without_body(&lines, 3), "its lines are not those that were exported"),
        ("one more is withheld", without_body(&own, 2), "it was exported with 5 withheld bodies and has 6"),
        ("the end is cut off", all[..end].join("\n"), "its signed end is missing"),
        ("the scope is changed", lines.replacen("\"everything\"", "\"tenant\"", 1), "not those that were exported"),
        ("the number is changed", own.replacen("\"withheld\":5", "\"withheld\":4", 1), "signature of its end is wrong"),
        ("another key signed", forged_end, "signature of its end is wrong"),
    ] {
        let found = check(&text, Some(&key)).unwrap();
        assert!(found.problems.iter().any(|problem| problem.what.contains(expected)), "{name}: {found:?}");
    }
    let keyless = AuditReader::new(store(folder.path()).await, key);
    let mut unsigned = keyless.export(ExportScope::Everything, Timestamp::from_micros(0));
    let mut text = String::new();
    while let Some(chunk) = unsigned.next_chunk().await.unwrap() {
        text.push_str(&chunk);
    }
    let found = check(&text, Some(&key)).unwrap();
    assert_eq!(found.problems.iter().map(|problem| &*problem.what).collect::<Vec<_>>(), ["its end is not signed"]);
    let after_the_end = format!("{lines}{}\n", all[end]);
    assert!(matches!(check(&after_the_end, Some(&key)), Err(AuditError::Export { .. })), "a line after the end");
}

#[tokio::test]
async fn a_log_that_somebody_else_extends_is_not_forked() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path(), 1000).await.unwrap(), open(folder.path(), 1000).await.unwrap());
    one.append(record(1)).await.unwrap();
    let refused = two.append(record(2)).await.unwrap_err();
    assert!(matches!(refused, AuditError::Unavailable { .. }), "{refused}");
    one.append(record(3)).await.unwrap();
    let found = one.verify().await.unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!(found.records, 2);
}
