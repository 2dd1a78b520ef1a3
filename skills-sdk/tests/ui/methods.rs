#![expect(unused, reason = "only what the macros say counts here")]

use sophon_sdk::tool;

struct Account;

impl Account {
    /// Is a method.
    #[tool(risk = "low")]
    fn close(&self, reason: String) {}

    /// Takes itself.
    #[tool(risk = "low")]
    fn end(self) {}
}

fn main() {}
