/* The files of the screens, as tools/build-web has packed them into the program.
 *
 * The table is generated (generated/web/files.c). Names are relative: "index.html",
 * "assets/main-D2x9.js"; those below assets/ carry a hash of their content. Without Node.js at
 * build time there is index.html alone, which says so.
 *
 * Layers: none. Threads: constant data. */
#pragma once

#include <stdbool.h>

enum web_coding { WEB_PLAIN, WEB_GZIP, WEB_BROTLI, WEB_CODINGS };

struct web_bytes {
    const char *from, *end; /* NULL: not in this coding */
};

struct web_file {
    const char *name, *type;
    const char *tag; /* hash of the content */
    bool hashed;     /* the name changes with the content */
    struct web_bytes coding[WEB_CODINGS];
};

extern const struct web_file WEB_FILES[]; /* ends with name NULL; sorted by name */
