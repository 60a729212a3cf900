/* What part_write.c and part_read.c share: constants of the format. */
#pragma once

#include "store/part.h"

enum {
    PART_MAJOR = 1,
    PART_MINOR = 1,
    PART_HEADER_BYTES = 64,
    PART_TRAILER_BYTES = 32,
    PART_DIRECTORY_MAX = 256 << 20,
    PART_CHUNK_MAX = 256 << 20,
    STREAM_HAS_POSTING = 1,
    /* An event with fewer than rows / 16 rows gets a posting copy. More frequent ones are in most
     * blocks anyway; copies of those between an eighth and a sixteenth took a fifth of all that is
     * kept of a row's customer, time and event. */
    POSTING_ONE_IN = 16,
};

#define PART_MAGIC "KEELPART"
#define PART_END_MAGIC "KEELEND1"

/* Local stream numbers stand for events in the block masks: bit (local % 64). */
