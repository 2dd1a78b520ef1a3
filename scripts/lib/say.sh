# Messages of the scripts: data goes to stdout, everything else to stderr.
# Sourced; the caller may set SAY to the name that stands in front of each line.

say() { printf '%s: %s\n' "${SAY:-${0##*/}}" "$*" >&2; }

# die MESSAGE [HINT]
die() {
    say "$1"
    if [[ ${2:-} ]]; then printf '  hint: %s\n' "$2" >&2; fi
    exit 1
}

# need COMMAND WHAT-FOR HINT
need() {
    command -v "$1" >/dev/null || die "$1 is missing ($2)" "$3"
}
