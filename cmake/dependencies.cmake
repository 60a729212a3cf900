# Every library that rooms may use, in one interface target. docs/dependencies.md says what each is
# for; tools/install-packages installs them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

pkg_check_modules(KEEL_PKG REQUIRED IMPORTED_TARGET
    sqlite3 libzstd libxxhash simdjson libdeflate zlib libpcre2-8
    libmicrohttpd gnutls libcurl libsodium)

# These ship no pkg-config file in Debian 12.
find_library(KEEL_CSV_LIBRARY csv REQUIRED)
find_library(KEEL_ROARING_LIBRARY roaring REQUIRED)
find_path(KEEL_CSV_INCLUDE csv.h REQUIRED)
find_path(KEEL_ROARING_INCLUDE roaring/roaring.h REQUIRED)
find_path(KEEL_TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)
mark_as_advanced(KEEL_CSV_LIBRARY KEEL_ROARING_LIBRARY
    KEEL_CSV_INCLUDE KEEL_ROARING_INCLUDE KEEL_TOMLPLUSPLUS_INCLUDE)

add_library(keel_deps INTERFACE)
target_include_directories(keel_deps SYSTEM INTERFACE
    ${KEEL_CSV_INCLUDE} ${KEEL_ROARING_INCLUDE} ${KEEL_TOMLPLUSPLUS_INCLUDE})
target_link_libraries(keel_deps INTERFACE
    PkgConfig::KEEL_PKG ${KEEL_CSV_LIBRARY} ${KEEL_ROARING_LIBRARY} Threads::Threads m)

# Generators of the grammar and the lexers.
find_program(LEMON lemon REQUIRED)
find_program(RE2C re2c REQUIRED)

# Packs the screens (tools/build-web), which Node.js builds where it is there.
find_program(PYTHON3 python3 REQUIRED)
