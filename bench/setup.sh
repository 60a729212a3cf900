# What bench/run and bench/ingest begin with; sourced by them, in the project's folder.

# install_missing PROGRAM=PACKAGE...: from Debian, those whose program is not there.
install_missing() {
    local pair need=() sudo=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || need+=("${pair#*=}")
    done
    [ ${#need[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get -qq update
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get -qq install -y --no-install-recommends \
        "${need[@]}" </dev/null >/dev/null
}

# build_release TARGET...: optimised.
build_release() {
    mkdir -p build
    cmake --preset release >build/release.log 2>&1 || { cat build/release.log; exit 1; }
    cmake --build build/release --target "$@" >build/release.log 2>&1 ||
        { tail -30 build/release.log; exit 1; }
}
