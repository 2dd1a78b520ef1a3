use sophon_sdk::tool;

struct Opaque;

/// Returns an error that is none.
#[tool(risk = "none")]
fn fails() -> Result<(), Opaque> {
    Ok(())
}

fn main() {}
