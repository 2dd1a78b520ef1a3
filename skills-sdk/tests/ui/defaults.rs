#![expect(unused, reason = "only what the macros say counts here")]

use sophon_sdk::tool;

/// Has a default of another type.
#[tool(risk = "none")]
fn default_of_another_type(#[arg(default = "twenty")] limit: u32) {}

fn main() {}
