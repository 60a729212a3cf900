# keel_add_web(): the screens of web/, built by Vite and packed into the room api.
#
# tools/build-web does the work and writes generated/web/: files.S takes the built files in with
# .incbin (0.01 s for 2 MB, where a list of bytes takes 3 s), files.c is the table of api/web_files.h.
# Where Node.js or npm or the network is missing, it packs one page that says so, and leaves out
# `built`, so that the next build tries again.
function(keel_add_web)
    set(out ${PROJECT_BINARY_DIR}/generated/web)
    file(GLOB_RECURSE inputs CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/web/src/*)
    foreach(name index.html package.json package-lock.json tsconfig.json vite.config.ts
            public/icon.svg)
        list(APPEND inputs ${PROJECT_SOURCE_DIR}/web/${name})
    endforeach()
    add_custom_command(OUTPUT ${out}/built ${out}/files.S ${out}/files.c
        COMMAND ${PYTHON3} ${PROJECT_SOURCE_DIR}/tools/build-web ${out}
        DEPENDS ${inputs} ${PROJECT_SOURCE_DIR}/tools/build-web
        COMMENT "Screens" VERBATIM)
    add_custom_target(keel_web DEPENDS ${out}/built)
    target_sources(keel_api PRIVATE ${out}/files.S ${out}/files.c)
endfunction()
