//! What the macros say when something is wrong. `TRYBUILD=overwrite cargo test -p sophon-sdk --test ui` writes the
//! answers anew.

#[test]
fn compile_errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
