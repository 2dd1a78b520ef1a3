//! The contract `wit/skill.wit` as Rust, generated. The modules beside this one wrap it; nothing else names it, so that
//! a change of the generator is not a change for skills.

wit_bindgen::generate!({
    path: "../wit",
    world: "skill",
    pub_export_macro: true,
    export_macro_name: "export_tools",
    default_bindings_module: "::sophon_sdk::__private::bindings",
});
