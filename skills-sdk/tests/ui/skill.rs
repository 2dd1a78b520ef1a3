#![expect(unused, reason = "only what the macros say counts here")]

use sophon_sdk::tool;

/// Is a tool.
#[tool(risk = "none")]
fn hello() {}

mod empty {
    sophon_sdk::skill!();
}

mod twice_in_the_list {
    use super::hello;
    sophon_sdk::skill!(hello, hello);
}

mod not_paths {
    use super::hello;
    sophon_sdk::skill!("hello", hello(), &hello, [hello], tools = hello, || (), 1 + 1);
}

mod semicolons {
    use super::hello;
    sophon_sdk::skill!(hello; hello);
}

fn main() {}
