# The standard library of a WebAssembly target, built from Debian's rust-src where `rustup target add` reaches no
# server. Sourced by scripts/setup, after lib/say.sh.
#
# The source has to be of exactly the compiler's version: std uses unstable features that change with every release.
# Downloads and builds stay in $SOPHON_CACHE; what a run needs only once goes to a temporary folder.

# guest_std_state TARGET -> present | stale | missing
guest_std_state() {
    local dir=$SYSROOT/lib/rustlib/$1
    compgen -G "$dir/lib/libstd-*.rlib" >/dev/null || { echo missing; return; }
    # A folder is rustup's own, and rustup keeps it in step; a link is ours, and has to be of this compiler.
    if [[ -L $dir && $(cat "$dir/.stamp" 2>/dev/null) != "$COMPILER" ]]; then echo stale; else echo present; fi
}

# guest_std_install TARGET: builds what is not built yet and links it into the toolchain.
guest_std_install() {
    local target=$1 built=$SOPHON_CACHE/guest-std/$STD_ID/lib/rustlib/$1
    if [[ $(cat "$built/.stamp" 2>/dev/null) != "$COMPILER" ]]; then
        guest_std_build "$target" "$built"
    fi
    [[ -w $SYSROOT/lib/rustlib ]] ||
        die "$SYSROOT/lib/rustlib cannot be written" "install Rust for this user with rustup, or run this as its owner"
    ln -sfn "$built" "$SYSROOT/lib/rustlib/$target"
}

guest_std_build() { # TARGET DESTINATION
    local target=$1 out=$2 src seed vendored rlib
    src=$(guest_std_source)
    seed=$SCRATCH/seed
    mkdir -p "$seed/src"
    cat >"$seed/Cargo.toml" <<'TOML'
[package]
name = "seed"
version = "0.0.0"
edition = "2021"

[workspace]

[profile.release]
opt-level = "s"
codegen-units = 1
debug = false
panic = "abort"
TOML
    echo '#![no_std]' >"$seed/src/lib.rs"

    # std's own dependencies come from the vendor folder beside it, so that no registry is asked. Debian leaves a
    # prebuilt object out of the crate that std needs for WASI, so there they come from the registry (same lock file).
    vendored=(--offline --config 'source.crates-io.replace-with="rust-src"'
        --config "source.rust-src.directory=\"$src/library/vendor\"")
    if [[ $target == *-wasi* ]]; then vendored=(); fi

    say "$target: building the standard library"
    # RUSTC_BOOTSTRAP lets a stable cargo take -Z; __CARGO_TESTS_ONLY_SRC_ROOT names the source without a write into
    # the toolchain; the bitcode is what lets a guest be built with `lto`.
    (cd "$seed" && env -u CARGO_ENCODED_RUSTFLAGS -u RUSTC_WRAPPER RUSTFLAGS=-Cembed-bitcode=yes RUSTC_BOOTSTRAP=1 \
        __CARGO_TESTS_ONLY_SRC_ROOT="$src/library" CARGO_TARGET_DIR="$seed/target" CARGO_INCREMENTAL=0 \
        cargo build --release --quiet -Zbuild-std=std,panic_abort --target "$target" "${vendored[@]}") >&2 ||
        die "the standard library for $target did not build"

    rm -rf "$out"
    mkdir -p "$out/lib"
    for rlib in "$seed/target/$target/release/deps"/lib*.rlib; do
        if [[ $rlib != */libseed-* ]]; then cp "$rlib" "$out/lib/"; fi
    done
    if [[ $target == *-wasi* ]]; then wasi_libc "$target" "$out/lib/self-contained"; fi
    # Last, so that a build that was cut short is not taken for a finished one.
    echo "$COMPILER" >"$out/.stamp"
}

# guest_std_source -> folder that holds library/
guest_std_source() {
    local src=$SOPHON_CACHE/rust-src/$RELEASE deb
    if [[ ! -e $src/.complete ]]; then
        deb=${RUST_SRC_DEB:-$(debian_package rust-src "$RELEASE+")} ||
            die "no Debian suite has rust-src $RELEASE" "RUST_SRC_DEB=/path/to/rust-src.deb ${0##*/}"
        rm -rf "$src"
        mkdir -p "$src"
        dpkg --fsys-tarfile "$deb" |
            tar -x -C "$src" --strip-components=4 --wildcards './usr/src/rustc-*/library/*'
        [[ -e $src/library/std/Cargo.toml && -e $src/library/Cargo.lock ]] || die "unexpected layout of $deb"
        : >"$src/.complete"
    fi
    echo "$src"
}

wasi_libc() { # TARGET DESTINATION: what the linker adds to a WASI program
    local target=$1 out=$2 root=$SOPHON_CACHE/wasi-libc deb lib
    if [[ ! -e $root/.complete ]]; then
        deb=$(debian_package wasi-libc '') || die "no Debian suite has wasi-libc"
        rm -rf "$root"
        dpkg -x "$deb" "$root"
        : >"$root/.complete"
    fi
    lib=$root/usr/lib/$target
    [[ -d $lib ]] || lib=$root/usr/lib/wasm32-wasi
    mkdir -p "$out"
    cp "$lib"/crt1-command.o "$lib"/crt1-reactor.o "$lib"/libc.a "$out/"
}

# --- Debian, through a private apt: the machine's own sources and lists stay as they are -----------------------------

# debian_package NAME VERSION-PREFIX -> path of the downloaded deb
debian_package() {
    local name=$1 want=$2 suite version options debs=$SOPHON_CACHE/debs
    command -v apt-get >/dev/null || { say "apt-get is missing"; return 1; }
    mkdir -p "$debs"
    for suite in ${SUITES:-trixie-backports forky trixie sid}; do
        debian_lists "$suite" || continue
        mapfile -t options < <(debian_options "$suite")
        version=$(apt-cache "${options[@]}" madison "$name" | awk -F'|' '{gsub(/ /, "", $2); print $2}' |
            grep -m1 "^${want//./\\.}") || continue
        say "downloading $name $version"
        (cd "$debs" && rm -f "${name}"_*.deb && apt-get "${options[@]}" download "$name=$version" >&2) || continue
        compgen -G "$debs/${name}_*.deb" && return
    done
    return 1
}

debian_lists() { # SUITE: fetched once a run
    local suite=$1 dir=$SCRATCH/apt/$1 mirror options
    if [[ -e $dir/fetched ]]; then return; fi
    mirror=$(debian_mirror)
    [[ $mirror ]] || { say "this machine's apt sources name no Debian mirror"; return 1; }
    mkdir -p "$dir/sources" "$dir/lists/partial" "$dir/cache/archives/partial"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$suite" \
        /usr/share/keyrings/debian-archive-keyring.gpg >"$dir/sources/debian.sources"
    mapfile -t options < <(debian_options "$suite")
    apt-get "${options[@]}" update >&2 && : >"$dir/fetched"
}

debian_options() { # SUITE
    local dir=$SCRATCH/apt/$1
    printf '%s\n' -oDir::Etc::SourceList=/dev/null "-oDir::Etc::SourceParts=$dir/sources" \
        "-oDir::State::Lists=$dir/lists" "-oDir::Cache=$dir/cache" -oAPT::Sandbox::User=root \
        -oAcquire::Languages=none -oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -oAcquire::Retries=3 -qq
}

debian_mirror() {
    {
        sed -n 's/^URIs:[[:space:]]*//p' /etc/apt/sources.list.d/*.sources 2>/dev/null
        sed -n 's/^deb[[:space:]]//p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null
    } | tr ' \t' '\n\n' | grep -m1 -E '^[a-z+]+:.*/debian/?$' || true
}
