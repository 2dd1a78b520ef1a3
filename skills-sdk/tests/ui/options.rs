use sophon_sdk::tool;

/// Has no risk.
#[tool]
fn no_risk() {}

/// Has options, and no risk.
#[tool(editable)]
fn no_risk_either() {}

/// Has a risk that does not exist.
#[tool(risk = "huge")]
fn wrong_risk() {}

/// Has a risk in another case.
#[tool(risk = "High")]
fn capital_risk() {}

/// Has a risk without quotes.
#[tool(risk = none)]
fn bare_risk() {}

/// Has a risk that is a number.
#[tool(risk = 3)]
fn number_risk() {}

/// Has a risk without a value.
#[tool(risk)]
fn empty_risk() {}

/// Has a risk in parentheses.
#[tool(risk("none"))]
fn called_risk() {}

/// Has no name for its option.
#[tool("none")]
fn nameless_option() {}

/// Ends in the middle.
#[tool(risk = )]
fn half_an_option() {}

/// Has two risks.
#[tool(risk = "low", risk = "high")]
fn two_risks() {}

/// Has effects that do not exist.
#[tool(risk = "low", effects = ["explode", "emails", "Delete"])]
fn wrong_effects() {}

/// Has an effect that is no list.
#[tool(risk = "low", effects = "delete")]
fn one_effect() {}

/// Has an effect without quotes.
#[tool(risk = "low", effects = [delete])]
fn bare_effect() {}

/// Has effects without a list.
#[tool(risk = "low", effects = delete)]
fn no_list() {}

/// Has effects without a value.
#[tool(risk = "low", effects)]
fn empty_effects() {}

/// Has an effect twice.
#[tool(risk = "low", effects = ["delete", "delete"])]
fn effect_twice() {}

/// Has an option that is on or off.
#[tool(risk = "low", editable = true)]
fn editable_as_a_value() {}

/// Has a name that is none.
#[tool(risk = "low", name = "two words")]
fn wrong_name() {}

/// Has a name without letters.
#[tool(risk = "low", name = "")]
fn empty_name() {}

/// Has a name without quotes.
#[tool(risk = "low", name = list)]
fn bare_name() {}

/// Has options that do not exist.
#[tool(risk = "low", color = "red", description = "What it does.", riskLevel = "low", effect = "delete")]
fn wrong_options() {}

/// Has several things wrong.
#[tool(risk = "huge", effects = ["explode"], name = "")]
fn much_is_wrong() {}

fn main() {}
