/* A record of the audit log as text, for audit.c and audit_verify.c. See audit.h. */
#pragma once

#include "guard/audit.h"

#define AUDIT_HEAD "{\"n\":"
#define AUDIT_PREVIOUS_NAME ",\"previous\":\""
#define AUDIT_HASH_NAME ",\"hash\":\""
enum { AUDIT_HEAD_NUMBER = 20 };

struct audit_link {
    uint64_t n;
    char previous[AUDIT_HASH_TEXT + 1], hash[AUDIT_HASH_TEXT + 1];
    struct str hashed; /* the bytes that `hash` is of */
};

struct audit_link audit_nothing(void); /* before the first record */
void audit_hash(struct str text, char out[AUDIT_HASH_TEXT + 1]);
/* Takes a line apart, without its newline; false: it is no record. The hash is not checked. */
bool audit_read_link(struct str line, struct audit_link *out);
int audit_lock(const char *path, int *out_fd, struct keel_error *err) K_CHECKED; /* file_close */
void audit_head_text(uint64_t n, const char *hash, char out[AUDIT_HEAD_FILE + 1]);
/* audit.head: number and hash; false: there is none, or it is damaged. The log is locked. */
bool audit_read_head(const char *path, struct audit_link *out);
