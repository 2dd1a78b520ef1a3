# Programs of cargo's that a step needs. Sourced after say.sh.

# cargo_tool NAME -> the program, installed into a folder of its own where there is none
cargo_tool() {
    local name=$1 folder=${XDG_CACHE_HOME:-$HOME/.cache}/sophon/tools
    if command -v "$name"; then return; fi
    if [[ ! -x $folder/bin/$name ]]; then
        say "installing $name"
        cargo install --quiet --locked --debug --root "$folder" "$name" >&2
    fi
    echo "$folder/bin/$name"
}
