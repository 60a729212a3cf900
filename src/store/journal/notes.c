/* Implementation of journal/notes.h. */
#include "store/journal/notes.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/os.h"
#include "store/journal/file.h"

enum { TEXT_MAX = JOURNAL_NOTES_MOST * (JOURNAL_NOTE_NAME_BYTES + 64) };

static void notes_path(const char *dir, const char *suffix, char out[JOURNAL_PATH_BYTES]) {
    snprintf(out, JOURNAL_PATH_BYTES, "%s/journal/backups%s", dir, suffix);
}

static struct journal_note *add(struct journal_notes *notes) {
    if (!notes->note) notes->note = k_alloc_array(JOURNAL_NOTES_MOST, sizeof *notes->note);
    if (notes->n < JOURNAL_NOTES_MOST) return &notes->note[notes->n++];
    struct journal_note *oldest = notes->note;
    for (size_t i = 1; i < notes->n; i++)
        if (notes->note[i].position < oldest->position) oldest = &notes->note[i];
    return oldest;
}

/* The number at the front of a line, and the space behind it. */
static bool take_number(struct str *line, uint64_t *out) {
    const char *space = memchr(line->p, ' ', line->n);
    if (!space || !str_to_u64((struct str){line->p, (size_t)(space - line->p)}, out)) return false;
    size_t skip = (size_t)(space - line->p) + 1;
    *line = (struct str){line->p + skip, line->n - skip};
    return true;
}

static void read_line(struct journal_notes *notes, struct str line) {
    struct journal_note note = {0};
    if (notes->n == JOURNAL_NOTES_MOST || !take_number(&line, &note.position) ||
        !take_number(&line, &note.bytes) || !line.n || line.n >= sizeof note.folder)
        return;
    memcpy(note.folder, line.p, line.n);
    *add(notes) = note;
}

void journal_notes_read(const char *dir, struct journal_notes *out) {
    char path[JOURNAL_PATH_BYTES];
    struct buf text;
    *out = (struct journal_notes){0};
    notes_path(dir, "", path);
    if (!file_exists(path)) return;
    buf_init(&text, TEXT_MAX);
    if (file_read(path, &text, NULL) == 0)
        for (struct str left = buf_str(&text); left.n;) {
            const char *end = memchr(left.p, '\n', left.n);
            size_t n = end ? (size_t)(end - left.p) : left.n, skip = end ? n + 1 : n;
            read_line(out, (struct str){left.p, n});
            left = (struct str){left.p + skip, left.n - skip};
        }
    buf_release(&text);
}

void journal_notes_release(struct journal_notes *notes) {
    k_free(notes->note);
    *notes = (struct journal_notes){0};
}

void journal_notes_set(struct journal_notes *notes, const char *folder, uint64_t position,
                       uint64_t bytes) {
    struct journal_note fresh = {.position = position, .bytes = bytes}, *place = NULL;
    snprintf(fresh.folder, sizeof fresh.folder, "%s", folder);
    for (char *c = fresh.folder; *c; c++)
        if (*c == '\n') *c = '?'; /* ends a line of the file */
    for (size_t i = 0; i < notes->n; i++)
        if (strcmp(notes->note[i].folder, fresh.folder) == 0) place = &notes->note[i];
    if (bytes) {
        if (!place) place = add(notes);
        *place = fresh;
    } else if (place) {
        *place = notes->note[--notes->n];
    }
}

int journal_notes_write(const char *dir, const struct journal_notes *notes,
                        struct keel_error *err) {
    char path[JOURNAL_PATH_BYTES], fresh[JOURNAL_PATH_BYTES];
    struct buf text;
    int fd;
    notes_path(dir, "", path);
    notes_path(dir, ".new", fresh);
    if (!notes->n) return file_remove(path, err);
    buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < notes->n; i++)
        (void)buf_printf(&text, "%" PRIu64 " %" PRIu64 " %s\n", notes->note[i].position,
                         notes->note[i].bytes, notes->note[i].folder);
    int code = file_open(fresh, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, err);
    if (code == 0) {
        code = file_write_all(fd, text.p, text.n, fresh, err);
        if (code == 0) code = file_sync(fd, fresh, err);
        file_close(fd);
    }
    buf_release(&text);
    return code < 0 ? code : file_rename(fresh, path, err);
}

uint64_t journal_notes_hold(const struct journal_notes *notes, uint64_t end) {
    uint64_t hold = UINT64_MAX;
    for (size_t i = 0; i < notes->n; i++) {
        const struct journal_note *note = &notes->note[i];
        uint64_t furthest = end > note->bytes ? end - note->bytes : 0;
        uint64_t position = note->position > furthest ? note->position : furthest;
        if (position < hold) hold = position;
    }
    return hold;
}
