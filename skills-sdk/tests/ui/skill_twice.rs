use sophon_sdk::tool;

/// Is a tool.
#[tool(risk = "none")]
fn hello() {}

sophon_sdk::skill!(hello);
sophon_sdk::skill!(hello);

fn main() {}
