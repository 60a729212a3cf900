# Language level, warnings, hardening and sanitizers, gathered in target keel_options.
# A preset chooses: KEEL_WERROR, KEEL_HARDEN, KEEL_LTO, KEEL_SANITIZE, KEEL_COVERAGE, KEEL_FUZZ.
option(KEEL_WERROR "Warnings are errors" OFF)
option(KEEL_HARDEN "Hardening flags (release)" OFF)
option(KEEL_LTO "Link-time optimisation (release)" OFF)
option(KEEL_COVERAGE "Count executed lines and branches" OFF)
option(KEEL_FUZZ "Build tests/fuzz with libFuzzer (clang)" OFF)
option(KEEL_TESTS "Build the tests" ON)
set(KEEL_SANITIZE "" CACHE STRING "Value of -fsanitize=, for example address,undefined")
set(KEEL_OUTPUT_DIR ${PROJECT_BINARY_DIR} CACHE PATH "Where the executable goes")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
    set(KEEL_X86_64 ON)
endif()

add_library(keel_options INTERFACE)
target_include_directories(keel_options INTERFACE
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/generated)
target_compile_definitions(keel_options INTERFACE $<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE>)
target_compile_options(keel_options INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wvla $<$<BOOL:${KEEL_WERROR}>:-Werror>
    -fPIE -fno-omit-frame-pointer -fno-strict-aliasing)
target_link_options(keel_options INTERFACE -pie)

if(KEEL_HARDEN)
    target_compile_options(keel_options INTERFACE
        -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
        $<$<BOOL:${KEEL_X86_64}>:-fcf-protection>)
    target_link_options(keel_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

if(KEEL_LTO)
    include(CheckIPOSupported)
    check_ipo_supported()
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()

set(sanitize ${KEEL_SANITIZE})
if(KEEL_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "KEEL_FUZZ needs clang: cmake --preset fuzz")
    endif()
    list(APPEND sanitize fuzzer-no-link) # coverage for libFuzzer; the targets add its main
endif()
if(sanitize)
    list(JOIN sanitize "," sanitize)
    target_compile_options(keel_options INTERFACE -fsanitize=${sanitize} -fno-sanitize-recover=all)
    target_link_options(keel_options INTERFACE -fsanitize=${sanitize})
    # gcc guesses wrong about instrumented code; the presets dev and release keep these.
    if(CMAKE_C_COMPILER_ID STREQUAL GNU)
        target_compile_options(keel_options INTERFACE -Wno-maybe-uninitialized -Wno-stringop-overflow)
    endif()
endif()

if(KEEL_COVERAGE)
    target_compile_options(keel_options INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(keel_options INTERFACE --coverage)
endif()
