fn helper() {}

sophon_sdk::skill!(helper, misspelt);

fn main() {}
