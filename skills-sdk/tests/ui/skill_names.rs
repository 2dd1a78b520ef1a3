use sophon_sdk::tool;

/// Is a tool.
#[tool(risk = "none")]
fn same() {}

mod other {
    /// Is one as well.
    #[sophon_sdk::tool(risk = "none")]
    pub(crate) fn same() {}
}

/// Is named like another.
#[tool(risk = "none", name = "same")]
fn third() {}

sophon_sdk::skill!(same, other::same, third);

fn main() {}
