# keel_add_room(ROOM): static library keel_ROOM of everything below src/ROOM.
#
#   *.c, *.cc              compiled with the project's warnings
#   NAME.y                 Lemon  -> generated/ROOM/NAME.h and NAME.c
#   NAME.re                re2c   -> generated/ROOM/NAME.re.c
#   *_avx2.c, *_avx512.c   compiled for that instruction set; chosen at run time by the caller
#   *_westmere.*, *_haswell.*, *_icelake.*   the same, for a CPU generation; *_fallback.* is plain
#
# A room that has no folder yet is skipped. KEEL_ROOM_LIBRARIES collects the libraries, each linked
# to the rooms above it.
set(KEEL_ROOM_LIBRARIES "")

set(KEEL_ISA_avx2 -mavx2 -mbmi -mbmi2 -mfma -mpopcnt -mlzcnt)
set(KEEL_ISA_avx512 ${KEEL_ISA_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512cd
    -mavx512vbmi -mavx512vbmi2 -mprefer-vector-width=512)
set(KEEL_ISA_westmere -march=westmere)
set(KEEL_ISA_haswell -march=haswell)
set(KEEL_ISA_icelake -march=icelake-client)
set(KEEL_ISA_PATTERN "_(avx2|avx512|westmere|haswell|icelake)\\.(c|cc)$")

# Code of a generator is not held to the warnings that our own is.
set(KEEL_GENERATED_OPTIONS -Wno-conversion -Wno-sign-conversion -Wno-shadow -Wno-unused-parameter
    -Wno-unused-variable -Wno-unused-function -Wno-implicit-fallthrough -Wno-unused-but-set-variable)

# out_sources: the compilable sources of a folder, generated ones included.
function(keel_sources folder out_sources)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.c ${folder}/*.cc)
    file(GLOB_RECURSE grammars CONFIGURE_DEPENDS ${folder}/*.y)
    file(GLOB_RECURSE lexers CONFIGURE_DEPENDS ${folder}/*.re)
    list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/src/cli/main.c)

    foreach(source IN LISTS sources)
        if(source MATCHES ${KEEL_ISA_PATTERN})
            # Code of one instruction set must not leak into the rest, where an older CPU would meet
            # it: no LTO, and inline C++ functions and templates stay local to their object (shared,
            # the linker would keep any one copy for all). tools/check isa looks at the objects.
            set(options ${KEEL_ISA_${CMAKE_MATCH_1}} $<$<BOOL:${KEEL_LTO}>:-fno-lto>
                $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-weak>)
            if(KEEL_X86_64)
                set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
            else()
                list(REMOVE_ITEM sources ${source})
            endif()
        endif()
    endforeach()

    set(generated "")
    foreach(grammar IN LISTS grammars)
        keel_generated_path(${grammar} dir name)
        add_custom_command(OUTPUT ${dir}/${name}.c ${dir}/${name}.h
            COMMAND ${LEMON} -q -d${dir} ${grammar}
            DEPENDS ${grammar} COMMENT "Lemon ${name}.y" VERBATIM)
        list(APPEND generated ${dir}/${name}.c)
        list(APPEND sources ${dir}/${name}.h)
    endforeach()
    foreach(lexer IN LISTS lexers)
        keel_generated_path(${lexer} dir name)
        add_custom_command(OUTPUT ${dir}/${name}.re.c
            COMMAND ${RE2C} -W -Werror --no-generation-date -o ${dir}/${name}.re.c ${lexer}
            DEPENDS ${lexer} COMMENT "re2c ${name}.re" VERBATIM)
        list(APPEND generated ${dir}/${name}.re.c)
    endforeach()
    set_source_files_properties(${generated} PROPERTIES COMPILE_OPTIONS "${KEEL_GENERATED_OPTIONS}")

    set(${out_sources} ${sources} ${generated} PARENT_SCOPE)
endfunction()

# The folder below generated/ that mirrors the source's, and the source's name without suffix.
function(keel_generated_path source out_dir out_name)
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${PROJECT_SOURCE_DIR}/src OUTPUT_VARIABLE path)
    cmake_path(GET path PARENT_PATH dir)
    cmake_path(GET path STEM LAST_ONLY name)
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/generated/${dir})
    set(${out_dir} ${PROJECT_BINARY_DIR}/generated/${dir} PARENT_SCOPE)
    set(${out_name} ${name} PARENT_SCOPE)
endfunction()

function(keel_add_room room)
    keel_sources(${PROJECT_SOURCE_DIR}/src/${room} sources)
    if(NOT sources)
        return()
    endif()
    add_library(keel_${room} STATIC ${sources})
    target_link_libraries(keel_${room} PUBLIC ${KEEL_ROOM_LIBRARIES} keel_options keel_deps)
    list(PREPEND KEEL_ROOM_LIBRARIES keel_${room}) # users first, for the linker
    set(KEEL_ROOM_LIBRARIES ${KEEL_ROOM_LIBRARIES} PARENT_SCOPE)
endfunction()
