use sophon_sdk::tool;

struct Result;

/// Returns a type that is called like a result.
#[tool(risk = "none")]
fn gives() -> Result {
    Result
}

fn main() {}
