struct NotATool;

sophon_sdk::skill!(NotATool);

fn main() {}
