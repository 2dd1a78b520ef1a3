use sophon_sdk::tool;

/// Is a tool.
#[tool(risk = "none")]
fn same() {}

mod other {
    /// Is one as well.
    #[sophon_sdk::tool(risk = "none")]
    pub(crate) fn same() {}
}

fn helper() {}

struct NotATool;

sophon_sdk::skill!(same, other::same);
sophon_sdk::skill!(same, NotATool);
sophon_sdk::skill!(helper);
sophon_sdk::skill!();

fn main() {}
