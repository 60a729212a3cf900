/* Runs SQL in a peer's own library inside this process: libchdb.so (ClickHouse) or libduckdb.so;
 * or in a ClickHouse server on this machine, over HTTP.
 *
 *   bench_peer clickhouse LIBCHDB DIR THREADS
 *   bench_peer duckdb LIBDUCKDB FILE THREADS
 *   bench_peer server PORT PID 0
 *
 * Protocol: engine.h; the command is "query". A server also takes "insert" with a statement, a
 * line's end, and the file that goes with it; its CPU and memory are those of process PID. The
 * libraries come from npm without headers: the few prototypes needed are declared here, and the
 * library is loaded at run time, so that building Keel needs neither. Threads: those of the
 * libraries.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>

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
    struct measured m = {0};
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
    struct measured m = {0};
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

/* ---- a ClickHouse server ---- */

static void send_all(int socket, const char *p, size_t n) {
    while (n) {
        ssize_t sent = send(socket, p, n, MSG_NOSIGNAL);
        if (sent <= 0) die("server", strerror(errno));
        p += sent;
        n -= (size_t)sent;
    }
}

static void put_escaped(struct answer *a, const char *p) {
    char hex[4];
    for (; *p; p++) {
        bool plain = (*p >= '0' && *p <= '9') || ((*p | 32) >= 'a' && (*p | 32) <= 'z');
        snprintf(hex, sizeof hex, plain ? "%c" : "%%%02X", (unsigned char)*p);
        answer_text(a, hex);
    }
}

/* POST of a file's bytes (file >= 0) or of none, the statement being in the URL; the reply's head
 * and body. */
static void http_post(uint16_t port, const char *sql, int file, struct answer *reply) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct stat stat = {0};
    struct answer head = {0};
    char number[64];
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0 || connect(s, (const struct sockaddr *)&to, sizeof to))
        die("server", strerror(errno));
    if (file >= 0 && fstat(file, &stat)) die("file", strerror(errno));
    size_t bytes = file >= 0 ? (size_t)stat.st_size : strlen(sql);
    answer_text(&head, "POST /?default_format=TabSeparatedRaw");
    if (file >= 0) {
        answer_text(&head, "&query=");
        put_escaped(&head, sql);
    }
    snprintf(number, sizeof number, " HTTP/1.0\r\nContent-Length: %zu\r\n\r\n", bytes);
    answer_text(&head, number);
    send_all(s, head.text, head.n);
    if (file < 0) send_all(s, sql, bytes);
    for (off_t at = 0; file >= 0 && at < stat.st_size;)
        if (sendfile(s, file, &at, (size_t)(stat.st_size - at)) <= 0)
            die("server", strerror(errno));
    char room[1 << 16];
    for (ssize_t n; (n = recv(s, room, sizeof room, 0)) > 0;) answer_put(reply, room, (size_t)n);
    answer_put(reply, "", 1);
    close(s);
    free(head.text);
}

/* Rows of values between tabs, as JSON. */
static void tabs_to_json(const char *p, struct answer *a) {
    while (*p) {
        const char *end = strchrnul(p, '\n');
        for (const char *value = p; value <= end;) {
            size_t n = strcspn(value, "\t\n");
            answer_text(a, value == p ? "[" : ",");
            answer_json_text(a, value, n);
            value += n + 1;
        }
        answer_text(a, "]\n");
        p = *end ? end + 1 : end;
    }
}

static void server_run(uint16_t port, pid_t pid, const char *command, char *text) {
    struct measured m = {.pid = pid};
    struct answer reply = {0}, rows = {0};
    int file = -1;
    if (strcmp(command, "insert") == 0) {
        char *line_end = strchr(text, '\n');
        if (!line_end) die("insert", "names no file");
        *line_end = 0;
        file = open(line_end + 1, O_RDONLY | O_CLOEXEC);
        if (file < 0) die(line_end + 1, strerror(errno));
    }
    engine_start(&m);
    http_post(port, text, file, &reply);
    engine_stop(&m);
    if (file >= 0) close(file);
    const char *body = strstr(reply.text, "\r\n\r\n");
    bool good = body && strncmp(reply.text + 8, " 200", 4) == 0;
    if (good) tabs_to_json(body + 4, &rows);
    engine_reply(&m, &rows, good ? NULL : body ? body + 4 : "no answer");
    free(reply.text);
    free(rows.text);
}

int main(int argc, char **argv) {
    char command[16], *text;
    if (argc != 5) die("usage", "bench_peer clickhouse|duckdb|server LIBRARY PLACE THREADS");
    if (strcmp(argv[1], "server") == 0) {
        uint16_t port = (uint16_t)strtoul(argv[2], NULL, 10);
        pid_t pid = (pid_t)strtol(argv[3], NULL, 10);
        while (engine_request(command, &text)) server_run(port, pid, command, text);
        return 0;
    }
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
