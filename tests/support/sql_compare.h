/* Asks Keel and SQLite the same questions about the same files and compares every row.
 *
 *     struct sql_compare c;
 *     compare_open(&c, "Europe/London", "GBP");
 *     compare_import(&c, "online_retail.toml", csv, 541909);
 *     compare_table(&c, "online_retail.toml", csv, "CREATE TABLE lines(...)",
 *                   "INSERT INTO lines VALUES(?,...)");
 *     compare_setup(&c, "CREATE VIEW ...");
 *     compare_ask(&c, QUESTIONS, n);
 *     compare_close(&c);
 *
 * Keel imports a file by a shipped map (examples/maps). SQLite's table holds the file's columns as
 * text; what the map calls null is NULL. Only the reading of CSV is shared: events, groups, money,
 * time and every answer are worked out twice.
 *
 * Failures end the test with the question, the row and both values. Layers: all rooms. Threads: one
 * owner. Limits: the SELECT may have fewer columns than Keel's answer, then the last ones are not
 * compared.
 */
#pragma once

#include <sqlite3.h>

#include "customer/db.h"
#include "fault_os.h"

enum { SHARED_PATH_MAX = 4096 };

struct question {
    const char *query, *sql; /* the SELECT's rows in the order that the language promises */
};

struct sql_compare {
    char dir[TEMP_PATH_MAX];
    struct db *db;
    sqlite3 *sql;
    int64_t at_ms; /* the moment of asking */
};

/* Where KEEL_SHARED has data/NAME; false, after a message, if it is absent: then skip(). */
bool shared_data(const char *name, char out[SHARED_PATH_MAX]);

void compare_open(struct sql_compare *c, const char *zone, const char *currency);
void compare_close(struct sql_compare *c);

/* The moment of asking: the first of a day in the company's zone. */
void compare_at(struct sql_compare *c, int year, int month, int day);

/* Imports the file twice. Every row must be taken, and the second time must add nothing. Returns
 * how many events there were. */
uint64_t compare_import(struct sql_compare *c, const char *map, const char *path, uint64_t rows);

/* The file as a table of SQLite: `insert` has a parameter for each of its columns. */
void compare_table(struct sql_compare *c, const char *map, const char *path, const char *create,
                   const char *insert);
/* All of this for the sales of a London wholesaler (retail/online_retail.csv.gz), asked on the day
 * behind them: `lines` is their table. False, after a message, if the file is absent. */
bool compare_retail(struct sql_compare *c);
void compare_setup(struct sql_compare *c, const char *sql); /* views and indexes */

void compare_ask(struct sql_compare *c, const struct question *questions, size_t n);
