# shellcheck shell=bash
# shellcheck disable=SC2154 # top comes from the caller
# Configuring and building, for the tools. Sourced; needs bash and $top, the root of the tree.

# Removes what would make meson or a compiler behave unlike what the caller asked for.
unset CFLAGS CXXFLAGS CPPFLAGS LDFLAGS DESTDIR

# Run through sudo in somebody's tree, we must not leave files that only root can change.
build_give_back() {
    if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_UID:-}" ] && [ -d "$top/build" ]; then
        chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$top/build" || true
    fi
}

# build_configure DIR CC OPTION...: makes $top/build/DIR, anew when the options are not those of the last time.
build_configure() {
    local dir=$top/build/$1 cc=$2 cxx=g++ stamp
    shift 2
    if [ "$cc" = clang ]; then cxx=clang++; fi
    stamp="$top $cc $*"
    mkdir -p "$dir" || return
    if [ ! -w "$dir" ]; then
        echo "cannot write to build/${dir##*/}: made by another user? remove it" >&2
        return 1
    fi
    if [ -f "$dir/build.ninja" ] && [ "$(cat "$dir/.options" 2>/dev/null)" = "$stamp" ]; then
        return 0
    fi
    rm -rf "$dir"
    CC=$cc CXX=$cxx meson setup "$dir" "$top" "$@" >&2 || return
    printf '%s' "$stamp" >"$dir/.options"
}

# build_compile DIR [TARGET]
build_compile() {
    meson compile -C "$top/build/$1" ${2:+"$2"} >&2
}
