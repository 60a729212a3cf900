/* Implementation of identity_index.h. Making one reads the log once: 60 ns a record. */
#include "customer/identity_index.h"

#include <stdio.h>

#include "base/os.h"
#include "base/str.h"

enum {
    MAJOR = 1,
    HEADER_BYTES = 72,
    SUM_AT = 64,
    BLOCK_BYTES = 4096,
    TAIL_BYTES = 4096,
    NUMBERS_A_STEP = 16,
    PLACES_A_SLOT = 4, /* at most, on average: 200 ns each to look at */
    SLOT_BITS_MOST = 28,
    PLACE_BYTES = 5,
    MOVE_BYTES = 8,
};

#define MAGIC "KEELIDX"
#define FILE_MOST ((size_t)1 << 38)

struct layout {
    uint32_t numbers, moves, bits;
    uint64_t places;
    /* offsets in the file */
    uint64_t sums, kinds, move_list, blocks;
    /* offsets in the blocks, and where these end */
    uint64_t steps, slots, place_list, end;
    uint64_t block_count;
};

struct identity_index {
    struct file_map map;
    struct layout at;
    struct identity_log_view log;
    char *path;
    uint8_t *head; /* sums, kinds, moves: as they were when they were verified */
};

/* All offsets follow from four counts. */
static struct layout layout_of(uint32_t numbers, uint32_t moves, uint64_t places, uint32_t bits) {
    struct layout l = {.numbers = numbers, .moves = moves, .bits = bits, .places = places};
    l.steps = 0;
    l.slots = ((uint64_t)numbers + NUMBERS_A_STEP - 1) / NUMBERS_A_STEP * 8;
    l.place_list = l.slots + (((uint64_t)1 << bits) + 1) * 4;
    l.end = l.place_list + places * PLACE_BYTES;
    l.block_count = (l.end + BLOCK_BYTES - 1) / BLOCK_BYTES;
    l.sums = HEADER_BYTES;
    l.kinds = l.sums + l.block_count * 4;
    l.move_list = l.kinds + (numbers + 7) / 8;
    l.blocks = l.move_list + (uint64_t)moves * MOVE_BYTES;
    return l;
}

static uint32_t hash_of(struct str id) { return (uint32_t)hash_str(id); }
static uint32_t slot_of(uint32_t hash, uint32_t bits) { return bits ? hash >> (32 - bits) : 0; }

static uint64_t tail_sum(const struct identity_log_view *log) {
    uint64_t n = log->n < TAIL_BYTES ? log->n : TAIL_BYTES;
    return hash64(log->p + log->n - n, n);
}

static uint64_t head_sum(const uint8_t *header, const uint8_t *rest, size_t rest_bytes) {
    uint8_t both[SUM_AT + 8];
    uint64_t sum = hash64(rest, rest_bytes);
    memcpy(both, header, SUM_AT);
    memcpy(both + SUM_AT, &sum, 8);
    return hash64(both, sizeof both);
}

static void make_header(uint8_t *out, const struct layout *l, const struct identity_log_view *log) {
    const uint16_t major = MAJOR;
    uint64_t tail = tail_sum(log);
    memset(out, 0, HEADER_BYTES);
    memcpy(out, MAGIC, sizeof MAGIC);
    memcpy(out + 8, &major, 2);
    memcpy(out + 12, &l->bits, 4);
    memcpy(out + 16, log->store_id, 16);
    memcpy(out + 32, &log->n, 8);
    memcpy(out + 40, &tail, 8);
    memcpy(out + 48, &l->numbers, 4);
    memcpy(out + 52, &l->moves, 4);
    memcpy(out + 56, &l->places, 8);
}

/* ---- open ---- */

static int damaged(const struct identity_index *x, struct keel_error *err) {
    FAIL(err, CORRUPT,
         "%s is damaged; remove it: it is made anew from identity.log when keel next writes there",
         x->path);
}

static bool moves_are_numbers(const struct identity_index *x) {
    const uint8_t *moves = x->head + (x->at.move_list - HEADER_BYTES);
    uint32_t pair[2];
    for (uint32_t i = 0; i < x->at.moves; i++) {
        memcpy(pair, moves + (size_t)i * MOVE_BYTES, sizeof pair);
        if (pair[0] >= x->at.numbers || pair[1] >= x->at.numbers) return false;
    }
    return true;
}

static int read_head(struct identity_index *x, struct keel_error *err) {
    const uint8_t *p = x->map.p;
    uint16_t major;
    uint32_t numbers, moves, bits;
    uint64_t places, bytes, tail, sum;
    if (x->map.n < HEADER_BYTES || memcmp(p, MAGIC, sizeof MAGIC) != 0) return damaged(x, err);
    memcpy(&major, p + 8, 2);
    memcpy(&bits, p + 12, 4);
    memcpy(&bytes, p + 32, 8);
    memcpy(&tail, p + 40, 8);
    memcpy(&numbers, p + 48, 4);
    memcpy(&moves, p + 52, 4);
    memcpy(&places, p + 56, 8);
    memcpy(&sum, p + SUM_AT, 8);
    if (major > MAJOR) FAIL(err, NOT_FOUND, "%s has format %u", x->path, major);
    if (bits > SLOT_BITS_MOST || places > FILE_MOST / PLACE_BYTES) return damaged(x, err);
    x->at = layout_of(numbers, moves, places, bits);
    if (x->map.n != x->at.blocks + x->at.end) return damaged(x, err);
    size_t rest = x->at.blocks - HEADER_BYTES;
    x->head = k_try_alloc(rest + 1);
    if (!x->head) FAIL(err, NO_MEMORY, "no memory for %s", x->path);
    memcpy(x->head, p + HEADER_BYTES, rest);
    if (sum != head_sum(p, x->head, rest) || !moves_are_numbers(x) || file_map_broken(&x->map))
        return damaged(x, err);
    if (memcmp(p + 16, x->log.store_id, 16) != 0 || bytes != x->log.n || tail != tail_sum(&x->log))
        FAIL(err, NOT_FOUND, "%s is of another identity.log", x->path);
    return 0;
}

int identity_index_open(const char *path, const struct identity_log_view *log,
                        struct identity_index **out, struct keel_error *err) {
    if (!file_exists(path)) FAIL(err, NOT_FOUND, "no %s", path);
    struct identity_index *x = k_zalloc(sizeof *x);
    x->log = *log;
    x->path = k_strdup(path);
    int code = file_map_open(path, &x->map, err);
    if (code == 0) code = read_head(x, err);
    if (code < 0) {
        identity_index_close(x);
        return code;
    }
    *out = x;
    return 0;
}

void identity_index_close(struct identity_index *x) {
    if (!x) return;
    file_map_close(&x->map);
    k_free(x->head);
    k_free(x->path);
    k_free(x);
}

void identity_index_redirects(const struct identity_index *x, struct redirects *out) {
    const uint8_t *moves = x->head + (x->at.move_list - HEADER_BYTES);
    uint32_t pair[2];
    for (uint32_t i = 0; i < x->at.numbers; i++) (void)redirects_add_number(out);
    for (uint32_t i = 0; i < x->at.moves; i++) {
        memcpy(pair, moves + (size_t)i * MOVE_BYTES, sizeof pair);
        redirects_set(out, pair[0], pair[1]);
    }
}

/* ---- look-ups ---- */

enum id_kind identity_index_kind(const struct identity_index *x, uint32_t number) {
    K_ASSERT_OP(number, <, x->at.numbers);
    const uint8_t *kinds = x->head + (x->at.kinds - HEADER_BYTES);
    return kinds[number / 8] >> (number % 8) & 1 ? ID_ANONYMOUS : ID_USER;
}

/* Bytes of the blocks, copied once each block that holds some of them is what it was. */
static int take(const struct identity_index *x, uint64_t at, void *out, size_t n) {
    const uint8_t *blocks = x->map.p + x->at.blocks;
    for (uint64_t b = at / BLOCK_BYTES; b <= (at + n - 1) / BLOCK_BYTES; b++) {
        uint64_t start = b * BLOCK_BYTES, left = x->at.end - start;
        uint32_t sum;
        memcpy(&sum, x->head + b * 4, 4);
        if (sum != (uint32_t)hash64(blocks + start, left < BLOCK_BYTES ? left : BLOCK_BYTES))
            return -1;
    }
    memcpy(out, blocks + at, n);
    return file_map_broken(&x->map) ? -1 : 0;
}

static struct reader log_from(const struct identity_index *x, uint64_t at) {
    uint64_t from = at < x->log.n ? at : x->log.n;
    return reader_over(x->log.p + from, x->log.n - from);
}

int identity_index_name(const struct identity_index *x, uint32_t number, struct str *out) {
    uint64_t at;
    K_ASSERT_OP(number, <, x->at.numbers);
    if (take(x, x->at.steps + number / NUMBERS_A_STEP * 8, &at, 8) < 0) return -1;
    struct reader r = log_from(x, at);
    struct identity_record record = {.type = RECORD_EDGE};
    while (record.type != RECORD_IDENTIFIER || record.number != number)
        if (!identity_log_next(&r, &record)) return -1;
    *out = record.id;
    return 0;
}

int identity_index_seek(const struct identity_index *x, struct str id,
                        struct identity_cursor *out) {
    uint32_t ends[2];
    uint64_t slot = slot_of(hash_of(id), x->at.bits);
    if (take(x, x->at.slots + slot * 4, ends, sizeof ends) < 0) return -1;
    *out = (struct identity_cursor){.index = x, .at = ends[0], .end = ends[1]};
    return ends[0] <= ends[1] && ends[1] <= x->at.places ? 0 : -1;
}

int identity_index_next(struct identity_cursor *c, struct identity_record *out) {
    const struct identity_index *x = c->index;
    uint64_t place = 0;
    if (c->at == c->end) return 0;
    if (take(x, x->at.place_list + c->at++ * PLACE_BYTES, &place, PLACE_BYTES) < 0) return -1;
    struct reader r = log_from(x, place);
    return identity_log_next(&r, out) ? 1 : -1;
}

/* ---- make ---- */

struct entry {
    uint64_t place;
    uint32_t hash;
};

struct making {
    const struct identity_log_view *log;
    struct entry *entries; /* in the order of the log */
    uint64_t count, capacity;
    struct layout at;
    uint8_t *file;
};

static int note(struct making *m, struct str id, uint64_t place) {
    if (m->count == m->capacity) {
        uint64_t capacity = m->capacity ? m->capacity * 2 : 1024;
        struct entry *grown = k_try_realloc(m->entries, capacity * sizeof *grown);
        if (!grown) return -KEEL_E_NO_MEMORY;
        m->entries = grown;
        m->capacity = capacity;
    }
    m->entries[m->count++] = (struct entry){.place = place, .hash = hash_of(id)};
    return 0;
}

/* 1: a record; 0: the end; or an error. */
static int next_record(const struct identity_log_view *log, struct reader *r, uint64_t *out_place,
                       struct identity_record *out) {
    if (reader_left(r) == 0) return 0;
    *out_place = (uint64_t)(r->p - log->p);
    return identity_log_next(r, out) ? 1 : -KEEL_E_CORRUPT;
}

static struct reader records_of(const struct identity_log_view *log) {
    size_t skip = IDENTITY_LOG_HEADER_BYTES < log->n ? IDENTITY_LOG_HEADER_BYTES : log->n;
    return reader_over(log->p + skip, log->n - skip);
}

static int note_records(struct making *m) {
    struct reader r = records_of(m->log);
    struct identity_record record;
    uint64_t place;
    int more;
    while ((more = next_record(m->log, &r, &place, &record)) == 1) {
        if (record.type == RECORD_IDENTIFIER) {
            TRY(note(m, record.id, place));
        } else {
            TRY(note(m, record.edge.anonymous_id, place));
            TRY(note(m, record.edge.user_id, place));
        }
    }
    return more;
}

static int put_numbers(struct making *m) {
    struct reader r = records_of(m->log);
    struct identity_record record;
    uint64_t place;
    int more;
    while ((more = next_record(m->log, &r, &place, &record)) == 1) {
        if (record.type != RECORD_IDENTIFIER) continue;
        uint32_t n = record.number;
        if (n >= m->at.numbers) return -KEEL_E_CORRUPT;
        if (record.kind == ID_ANONYMOUS) m->file[m->at.kinds + n / 8] |= (uint8_t)(1u << (n % 8));
        if (n % NUMBERS_A_STEP == 0)
            memcpy(m->file + m->at.blocks + m->at.steps + n / NUMBERS_A_STEP * 8, &place, 8);
    }
    return more;
}

/* A counting sort by slot: the order of the log stays. */
static int put_places(struct making *m) {
    uint32_t slots = (uint32_t)1 << m->at.bits;
    uint32_t *next = k_try_alloc_array((size_t)slots + 1, sizeof *next);
    if (!next) return -KEEL_E_NO_MEMORY;
    memset(next, 0, ((size_t)slots + 1) * sizeof *next);
    for (uint64_t i = 0; i < m->count; i++) next[slot_of(m->entries[i].hash, m->at.bits) + 1]++;
    for (uint32_t s = 0; s < slots; s++) next[s + 1] += next[s];
    memcpy(m->file + m->at.blocks + m->at.slots, next, ((size_t)slots + 1) * 4);
    for (uint64_t i = 0; i < m->count; i++) {
        uint64_t at = next[slot_of(m->entries[i].hash, m->at.bits)]++;
        memcpy(m->file + m->at.blocks + m->at.place_list + at * PLACE_BYTES, &m->entries[i].place,
               PLACE_BYTES);
    }
    k_free(next);
    return 0;
}

/* The log of moves has where each number came from; where it went to is where its next move came
 * from, or its root of now: so from the newest backwards. */
static int put_moves(struct making *m, const struct redirect_view *v) {
    uint32_t *root = k_try_alloc_array((size_t)v->numbers + 1, sizeof *root);
    if (!root) return -KEEL_E_NO_MEMORY;
    for (uint32_t i = 0; i < v->numbers; i++) root[i] = redirect_root(v, i);
    for (uint32_t i = v->move_count; i-- > 0;) {
        uint32_t pair[2] = {v->moves[i].number, root[v->moves[i].number]};
        root[pair[0]] = v->moves[i].from;
        if (i < m->at.moves)
            memcpy(m->file + m->at.move_list + (size_t)i * MOVE_BYTES, pair, sizeof pair);
    }
    k_free(root);
    return 0;
}

static void put_sums(struct making *m) {
    for (uint64_t b = 0; b < m->at.block_count; b++) {
        uint64_t start = b * BLOCK_BYTES, left = m->at.end - start;
        uint32_t sum = (uint32_t)hash64(m->file + m->at.blocks + start,
                                        left < BLOCK_BYTES ? left : BLOCK_BYTES);
        memcpy(m->file + m->at.sums + b * 4, &sum, 4);
    }
    uint8_t header[HEADER_BYTES];
    make_header(header, &m->at, m->log);
    uint64_t sum = head_sum(header, m->file + HEADER_BYTES, m->at.blocks - HEADER_BYTES);
    memcpy(header + SUM_AT, &sum, 8);
    memcpy(m->file, header, HEADER_BYTES);
}

static int fill(struct making *m, const struct redirect_view *redirects, uint32_t numbers,
                uint32_t moves) {
    uint32_t bits = 0;
    TRY(note_records(m));
    if (m->count > UINT32_MAX || m->log->n >> (8 * PLACE_BYTES)) return -KEEL_E_LIMIT;
    while (bits < SLOT_BITS_MOST && m->count >> bits > PLACES_A_SLOT) bits++;
    m->at = layout_of(numbers, moves, m->count, bits);
    m->file = k_try_zalloc(m->at.blocks + m->at.end);
    if (!m->file) return -KEEL_E_NO_MEMORY;
    TRY(put_numbers(m));
    TRY(put_places(m));
    TRY(put_moves(m, redirects));
    put_sums(m);
    return 0;
}

/* *out, of *out_bytes, is the caller's. */
static int make(const struct identity_log_view *log, const struct redirect_view *redirects,
                uint32_t numbers, uint32_t moves, uint8_t **out, size_t *out_bytes,
                struct keel_error *err) {
    struct making m = {.log = log};
    int code = fill(&m, redirects, numbers, moves);
    k_free(m.entries);
    if (code < 0) {
        k_free(m.file);
        return error_set(err, (enum keel_code) - code, "cannot make the index of identity.log");
    }
    *out = m.file;
    *out_bytes = m.at.blocks + m.at.end;
    return 0;
}

int identity_index_check(const struct identity_index *x, const struct redirect_view *moves,
                         struct keel_error *err) {
    uint8_t *file;
    size_t bytes;
    TRY(make(&x->log, moves, moves->numbers, moves->version, &file, &bytes, err));
    bool same = bytes == x->map.n && memcmp(file, x->map.p, bytes) == 0;
    k_free(file);
    return same && !file_map_broken(&x->map) ? 0 : damaged(x, err);
}

static int write_file(const char *path, const uint8_t *p, size_t n, struct keel_error *err) {
    int fd;
    TRY(file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, err));
    int code = file_write_all(fd, p, n, path, err);
    if (code == 0) code = file_sync(fd, path, err);
    file_close(fd);
    return code;
}

int identity_index_write(const char *path, const struct identity_log_view *log,
                         const struct redirect_view *redirects, uint32_t numbers, uint32_t version,
                         struct keel_error *err) {
    char fresh[4096];
    uint8_t *file;
    size_t bytes;
    TRY(make(log, redirects, numbers, version, &file, &bytes, err));
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int code = write_file(fresh, file, bytes, err);
    if (code == 0) code = file_rename(fresh, path, err);
    if (code < 0) (void)!file_remove(fresh, NULL);
    k_free(file);
    return code;
}
