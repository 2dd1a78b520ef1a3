//! Where gVisor does not answer nothing native runs.

use super::*;

#[tokio::test]
async fn attack_45_without_an_engine_native_skills_are_refused_with_the_reason() {
    let nothing = runtime(ContainerConfig::default());
    assert_eq!(nothing.open().await, Err(Unavailable::Off));
    let refused = nothing.prepared(&manifest(""), Digest::of(b"x"), Vec::new(), None).await.unwrap_err();
    assert!(refused.to_string().contains("no container engine is configured"), "{refused}");
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("unix://{}/docker.sock", folder.path().display());
    let nothing = runtime(config(nowhere));
    let cause = nothing.open().await.unwrap_err();
    assert!(matches!(cause, Unavailable::NoEngine { .. }), "{cause}");
    assert!(cause.hint().contains("scripts/setup --containers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_45_a_runtime_that_is_not_gvisors_runs_nothing() {
    let Some(engine) = given() else { return };
    // The engine's own runtime, by its own name and under any other: what counts is the kernel that answers.
    let runc = ContainerConfig { runtime: "runc".into(), ..config(engine.clone()) };
    let lab = runtime(runc.clone());
    let cause = lab.open().await.unwrap_err();
    assert!(matches!(cause, Unavailable::NotGvisor { .. }), "{cause}");
    let refused = lab.prepared(&manifest(""), Digest::of(b"x"), Vec::new(), None).await.unwrap_err();
    assert!(refused.to_string().contains("not gVisor"), "{refused}");
    let absent = ContainerConfig { runtime: "kata".into(), ..config(engine.clone()) };
    let cause = runtime(absent).open().await.unwrap_err();
    assert!(matches!(cause, Unavailable::NoRuntime { .. }), "{cause}");
    // Nothing is left of the tries: whoever looks at them says so, once what was dropped is gone.
    let look = Engine::connect(&engine, "runsc", &runc.owner).await.unwrap();
    let gone = async {
        while !look.owned().await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.expect("something is left of the tries");
    let next = runtime(ContainerConfig { runtime: "runsc".into(), ..runc });
    assert_eq!(next.open().await.unwrap().leftovers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_named() {
    let Some(engine) = given() else { return };
    let images = [("base".to_owned(), "nowhere/none:9".to_owned())].into();
    let cause = runtime(ContainerConfig { images, ..config(engine) }).open().await.unwrap_err();
    assert_eq!(cause, Unavailable::NoImage { name: "nowhere/none:9".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_image_is_refused_before_it_is_called() {
    let Some(lab) = Lab::open().await else { return };
    let refused = async |from: &str, to: &str| {
        let text = manifest("").document().as_str().replacen(from, to, 1);
        let manifest = Manifest::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
        lab.runtime.prepared(&manifest, Digest::of(b"x"), Vec::new(), None).await.unwrap_err()
    };
    let no_image = refused("\"python\"", "\"csharp\"").await;
    assert!(matches!(no_image, SandboxError::NoTier { .. }), "{no_image}");
    let missing = refused("\"main.py\"", "\"main.py\", \"requirements\": [\"x==1.0\"]").await;
    assert!(matches!(missing, SandboxError::Requirements { .. }), "{missing}");
}
