use sophon_sdk::{Result, tool};

struct Opaque;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(crate = "sophon_sdk::serde")]
struct WithoutSchema;

/// Takes what has no schema.
#[tool(risk = "none")]
fn takes(value: WithoutSchema) {
    drop(value);
}

/// Takes what cannot be read, whole.
#[tool(risk = "none")]
fn takes_whole(#[args] opaque: Opaque) {
    drop(opaque);
}

/// Gives what cannot be written.
#[tool(risk = "none")]
fn gives() -> Opaque {
    Opaque
}

/// Gives a list of it, or an error.
#[tool(risk = "none")]
fn gives_list() -> Result<Vec<Opaque>> {
    Ok(Vec::new())
}

/// Gives what has no schema.
#[tool(risk = "none")]
fn gives_without_schema() -> WithoutSchema {
    WithoutSchema
}

/// Returns an error that is none.
#[tool(risk = "none")]
fn fails() -> Result<(), Opaque> {
    Ok(())
}

/// Returns a text as its error.
#[tool(risk = "none")]
fn fails_in_words() -> Result<(), String> {
    Ok(())
}

fn main() {}
