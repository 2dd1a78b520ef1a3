use sophon_sdk::tool;

/// Has no risk.
#[tool]
fn no_risk() {}

/// Has a risk that does not exist.
#[tool(risk = "huge")]
fn wrong_risk() {}

/// Has an effect that does not exist.
#[tool(risk = "low", effects = ["explode"])]
fn wrong_effect() {}

/// Has an option that does not exist.
#[tool(risk = "low", color = "red")]
fn wrong_option() {}

/// Has a name that is none.
#[tool(risk = "low", name = "two words")]
fn wrong_name() {}

#[tool(risk = "low")]
fn no_description() {}

#[tool(risk = "low")]
struct NotAFunction;

sophon_sdk::skill!(no_risk, wrong_risk);

fn main() {}
