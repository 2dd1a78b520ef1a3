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
    assert_eq!(cause, Unavailable::NoImage { name: "nowhere/none:9".into(), kind: ImageKind::Base });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_image_is_refused_before_it_is_called() {
    let Some(lab) = Lab::open().await else { return };
    let refused = async |from: &str, to: &str| {
        let text = manifest("").document().as_str().replacen(from, to, 1);
        let manifest = Manifest::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
        lab.runtime.prepared(&manifest, Digest::of(b"x"), Vec::new(), None).await.unwrap_err()
    };
    let no_image = refused("\"python\"", "\"container\"").await;
    assert!(matches!(no_image, SandboxError::NoTier { .. }), "{no_image}");
    assert!(no_image.to_string().contains("csharp"), "it says what runs: {no_image}");
    let missing = refused("\"main.py\"", "\"main.py\", \"requirements\": [\"x==1.0\"]").await;
    assert!(matches!(missing, SandboxError::Requirements { .. }), "{missing}");
}

#[test]
fn what_dotnet_cannot_do_is_refused_with_the_reason() {
    let assembly = |extra: &str| {
        let text =
            manifest(extra).document().as_str().replacen("python", "csharp", 1).replacen("main.py", "Probe.dll", 1);
        Manifest::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
    };
    ContainerRuntime::check_runtime(&assembly("")).unwrap();
    ContainerRuntime::check_runtime(&assembly(&sandbox("restricted", 10))).unwrap();
    let source = Manifest::parse(manifest("").document().as_str().replacen("python", "csharp", 1).as_bytes()).unwrap();
    for (manifest, part) in [
        (assembly(&sandbox("locked-down", 10)), "threads"),
        (assembly(", \"requirements\": [\"x==1.0\"]"), "Python"),
        (source, "assembly"),
    ] {
        use sophon_types::Fault as _;
        let refused = ContainerRuntime::check_runtime(&manifest).unwrap_err();
        assert_eq!(refused.code(), "runtime_unfit");
        assert!(refused.to_string().contains(part), "{refused}");
        assert!(refused.hint().is_some_and(|hint| hint.len() > 20), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_45_without_its_image_a_csharp_skill_is_refused_with_how_to_make_it() {
    let Some(lab) = Lab::with(|config| {
        let images = [("csharp".to_owned(), "nowhere/none:9".to_owned())].into();
        ContainerConfig { images, ..config }
    })
    .await
    else {
        return;
    };
    assert!(!lab.runtime.open().await.unwrap().csharp);
    let text = manifest("").document().as_str().replacen("python", "csharp", 1).replacen("main.py", "Probe.dll", 1);
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    let refused = lab.runtime.prepared(&manifest, Digest::of(b"x"), Vec::new(), None).await.unwrap_err();
    use sophon_types::Fault as _;
    assert_eq!(refused.code(), "gvisor_not_available");
    assert!(refused.to_string().contains("nowhere/none:9"), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("scripts/build-images --dotnet")), "{refused}");
}
