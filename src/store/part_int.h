/* What part_write.c and part_read.c share: constants of the format. */
#pragma once

#include "store/part.h"

enum {
    PART_MAJOR = 1,
    PART_MINOR = 0,
    PART_HEADER_BYTES = 64,
    PART_TRAILER_BYTES = 32,
    PART_DIRECTORY_MAX = 256 << 20,
    PART_CHUNK_MAX = 256 << 20,
    STREAM_HAS_POSTING = 1,
    POSTING_ONE_IN = 8, /* an event with fewer than rows / 8 rows gets a posting copy */
};

#define PART_MAGIC "KEELPART"
#define PART_END_MAGIC "KEELEND1"

/* Local stream numbers stand for events in the block masks: bit (local % 64). */
