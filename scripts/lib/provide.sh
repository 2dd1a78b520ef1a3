# What the machine itself has to have. Sourced after say.sh.

# provide COMMAND WHAT-FOR PACKAGE...: installs Debian's packages where the command is missing and this may be done
provide() {
    local command=$1 purpose=$2
    shift 2
    if command -v "$command" >/dev/null; then return; fi
    if ((EUID)) || ! command -v apt-get >/dev/null; then
        die "$command is missing ($purpose)" "apt-get install $*"
    fi
    say "$command is missing ($purpose): installing $*"
    {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    } >&2 || die "$* cannot be installed" "apt-get install $*"
}
