//! The host's side of `wit/skill.wit`, generated.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "skill",
    imports: {
        "sophon:skill/credentials.scoped-token": async | trappable,
        "sophon:skill/http.send": async | trappable,
        "sophon:skill/state.read": async | trappable,
        "sophon:skill/state.write": async | trappable,
        "sophon:skill/state.delete": async | trappable,
        "sophon:skill/state.keys": async | trappable,
        "sophon:skill/state.compare-and-set": async | trappable,
        "sophon:skill/workspace.read": async | trappable,
        "sophon:skill/workspace.write": async | trappable,
        "sophon:skill/workspace.append": async | trappable,
        "sophon:skill/workspace.list": async | trappable,
        "sophon:skill/workspace.remove": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
