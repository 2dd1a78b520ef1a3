#![expect(unused, reason = "only what the macros say counts here")]

use sophon_sdk::tool;

#[tool(risk = "low")]
struct Structure;

#[tool(risk = "low")]
enum Choice {}

#[tool(risk = "low")]
const CONSTANT: u8 = 1;

#[tool(risk = "low")]
mod module {}

struct Plain;

#[tool(risk = "low")]
impl Plain {}

trait Interface {
    /// Has no body.
    #[tool(risk = "low")]
    fn bodiless();
}

/// Is a tool twice.
#[tool(risk = "low")]
#[tool(risk = "high")]
fn twice() {}

fn main() {}
