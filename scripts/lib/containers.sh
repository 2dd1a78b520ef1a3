# What native skills run in: an engine, gVisor, images. Sourced after say.sh and provide.sh.

# provide_containers DIR: prints the address of an engine that has gVisor and the images; the one for C# where SOPHON_DOTNET names a
# runtime, which build-images compares with DOTNET_SHA512 where it is an archive
provide_containers() {
    local address dotnet=()
    provide dockerd "native skills run in containers" docker.io
    provide_runsc
    address=$("$here/engine" start "$1") || die "no engine" "read $1/dockerd.log"
    if [[ ${SOPHON_DOTNET:-} ]]; then dotnet=(--dotnet "$SOPHON_DOTNET"); fi
    "$here/build-images" "${dotnet[@]}" "$address" >&2 || die "no images" "scripts/build-images ${dotnet[*]} $address"
    say "native skills: [containers] engine = \"$address\""
    echo "$address"
}

# Debian has gVisor in its backports only.
provide_runsc() {
    if command -v runsc >/dev/null; then return; fi
    if ((EUID)) || ! command -v apt-get >/dev/null; then
        die "runsc is missing (gVisor keeps native skills in)" "install gVisor's runsc, of 2024 or later"
    fi
    # shellcheck source=/dev/null
    . /etc/os-release
    local sources=/etc/apt/sources.list.d/sophon-backports.sources archive keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    archive=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
    if [[ ! ${archive:-} || ${ID:-} != debian || ! -r $keyring ]]; then
        die "runsc is missing (gVisor keeps native skills in)" "install gVisor's runsc, of 2024 or later"
    fi
    say "runsc is missing (gVisor keeps native skills in): installing it from $VERSION_CODENAME-backports"
    printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\nSigned-By: %s\n' "$archive" "$VERSION_CODENAME" "$keyring" >"$sources"
    {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -t "$VERSION_CODENAME-backports" runsc
    } >&2 || die "runsc cannot be installed" "apt-get install -t $VERSION_CODENAME-backports runsc"
}
