/* Runs SQL in a peer's own library inside this process: libchdb.so (ClickHouse) or libduckdb.so.
 *
 *   bench_peer clickhouse LIBCHDB DIR THREADS
 *   bench_peer duckdb LIBDUCKDB FILE THREADS
 *
 * Protocol: engine.h; the command is "query". The libraries come from npm without headers: the few
 * prototypes needed are declared here, and the library is loaded at run time, so that building Keel
 * needs neither. Threads: those of the libraries.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <unistd.h>

#include "engine.h"

_Noreturn static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_peer: %s: %s\n", what, why);
    exit(1);
}

/* POSIX makes data and function pointers convertible; ISO C has no cast for it. */
static void load(void *library, const char *name, void *out_function) {
    void *symbol = dlsym(library, name);
    if (!symbol) die(name, "not in this library");
    memcpy(out_function, &symbol, sizeof symbol);
}

/* ---- ClickHouse ---- */

struct chdb_connection;
struct chdb_result;

static struct {
    struct chdb_connection **(*connect)(int argc, char **argv);
    struct chdb_result *(*query)(struct chdb_connection *, const char *sql, const char *format);
    char *(*buffer)(struct chdb_result *);
    size_t (*length)(struct chdb_result *);
    const char *(*error)(struct chdb_result *);
    void (*destroy)(struct chdb_result *);
} chdb;

static struct chdb_connection **chdb_open(const char *path, const char *dir, const char *threads) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) die(path, dlerror());
    load(library, "chdb_connect", &chdb.connect);
    load(library, "chdb_query", &chdb.query);
    load(library, "chdb_result_buffer", &chdb.buffer);
    load(library, "chdb_result_length", &chdb.length);
    load(library, "chdb_result_error", &chdb.error);
    load(library, "chdb_destroy_query_result", &chdb.destroy);
    char path_option[4200], threads_option[64], name[] = "clickhouse";
    snprintf(path_option, sizeof path_option, "--path=%s", dir);
    snprintf(threads_option, sizeof threads_option, "--max_threads=%s", threads);
    char *argv[] = {name, path_option, threads_option};
    struct chdb_connection **connection = chdb.connect(3, argv);
    if (!connection || !*connection) die(dir, "ClickHouse does not open it");
    return connection;
}

static void chdb_run(struct chdb_connection *connection, const char *sql) {
    struct measured m;
    engine_start(&m);
    struct chdb_result *r = chdb.query(connection, sql, "JSONCompactStringsEachRow");
    engine_stop(&m);
    const char *error = r ? chdb.error(r) : "no result";
    struct answer a = {0};
    if (!error && chdb.length(r)) answer_put(&a, chdb.buffer(r), chdb.length(r));
    engine_reply(&m, &a, error);
    free(a.text);
    if (r) chdb.destroy(r);
}

/* ---- DuckDB ---- */

struct duckdb_result { /* duckdb.h: six words, of which only functions make sense */
    void *words[16];
};

static struct {
    int (*open)(const char *path, void **database);
    int (*connect)(void *database, void **connection);
    int (*query)(void *connection, const char *sql, struct duckdb_result *);
    const char *(*error)(struct duckdb_result *);
    uint64_t (*columns)(struct duckdb_result *);
    uint64_t (*rows)(struct duckdb_result *);
    char *(*value)(struct duckdb_result *, uint64_t column, uint64_t row);
    void (*release)(void *);
    void (*destroy)(struct duckdb_result *);
} duck;

static void *duck_open(const char *path, const char *file, const char *threads) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *database, *connection;
    if (!library) die(path, dlerror());
    load(library, "duckdb_open", &duck.open);
    load(library, "duckdb_connect", &duck.connect);
    load(library, "duckdb_query", &duck.query);
    load(library, "duckdb_result_error", &duck.error);
    load(library, "duckdb_column_count", &duck.columns);
    load(library, "duckdb_row_count", &duck.rows);
    load(library, "duckdb_value_varchar", &duck.value);
    load(library, "duckdb_free", &duck.release);
    load(library, "duckdb_destroy_result", &duck.destroy);
    if (duck.open(file, &database)) die(file, "DuckDB does not open it");
    if (duck.connect(database, &connection)) die(file, "DuckDB does not connect");
    char sql[64];
    struct duckdb_result r = {0};
    snprintf(sql, sizeof sql, "SET threads=%s", threads);
    if (duck.query(connection, sql, &r)) die(sql, duck.error(&r));
    duck.destroy(&r);
    return connection;
}

static void duck_rows(struct duckdb_result *r, struct answer *a) {
    uint64_t rows = duck.rows(r), columns = duck.columns(r);
    for (uint64_t row = 0; row < rows; row++) {
        for (uint64_t column = 0; column < columns; column++) {
            char *value = duck.value(r, column, row);
            answer_text(a, column ? "," : "[");
            if (value)
                answer_json_text(a, value, strlen(value));
            else
                answer_text(a, "null");
            duck.release(value);
        }
        answer_text(a, "]\n");
    }
}

static void duck_run(void *connection, const char *sql) {
    struct measured m;
    struct duckdb_result r = {0};
    struct answer a = {0};
    engine_start(&m);
    bool failed = duck.query(connection, sql, &r);
    engine_stop(&m);
    if (!failed) duck_rows(&r, &a);
    engine_reply(&m, &a, failed ? duck.error(&r) : NULL);
    free(a.text);
    duck.destroy(&r);
}

int main(int argc, char **argv) {
    char command[16], *text;
    if (argc != 5) die("usage", "bench_peer clickhouse|duckdb LIBRARY PLACE THREADS");
    bool clickhouse = strcmp(argv[1], "clickhouse") == 0;
    struct chdb_connection **chdb_connection = NULL;
    void *duck_connection = NULL;
    if (clickhouse)
        chdb_connection = chdb_open(argv[2], argv[3], argv[4]);
    else
        duck_connection = duck_open(argv[2], argv[3], argv[4]);
    while (engine_request(command, &text)) {
        if (clickhouse)
            chdb_run(*chdb_connection, text);
        else
            duck_run(duck_connection, text);
    }
    fflush(stdout);
    _exit(0); /* the libraries' own destructors take seconds, and nothing is left to write */
}
