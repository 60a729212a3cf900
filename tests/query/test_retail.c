/* The main job on real input: a year of a UK web shop (UCI Online Retail), imported by the shipped
 * map, asked by Keel and by SQLite from the same CSV. The SQL stands beside each question.
 *
 * Skipped with a message where the data is absent (KEEL_SHARED). ctest: timeout=300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sql_compare.h"

/* An order is an invoice: C… are refunds, A… adjustments; its time is the earliest of its lines; an
 * invoice without customer is a customer of its own. `day` is local: the CSV has wall times. */
static const char SETUP[] =
    "CREATE TABLE orders AS SELECT invoice,"
    "  ifnull(customer, 'order:' || invoice) who, customer IS NOT NULL known,"
    "  min(ts) ts, sum(round(qty * price * 100000)) / 100000 revenue,"
    "  min(country) country, CASE substr(invoice, 1, 1) WHEN 'C' THEN 'Order Refunded'"
    "  WHEN 'A' THEN 'Order Adjusted' ELSE 'Order Completed' END event"
    "  FROM lines GROUP BY invoice, customer;"
    "CREATE VIEW o AS SELECT * FROM orders WHERE event = 'Order Completed';"
    /* The first row of a customer says the country. */
    "CREATE TABLE trait AS SELECT customer who, country FROM lines WHERE customer IS NOT NULL"
    "  GROUP BY customer HAVING rowid = min(rowid);"
    "CREATE TABLE customers AS SELECT DISTINCT who FROM orders;"
    "CREATE INDEX o_who ON orders(who, ts); CREATE INDEX l_invoice ON lines(invoice);"
    "CREATE INDEX t_who ON trait(who);";

static const struct question QUESTIONS[] = {
    {"count customers", "SELECT count(*) FROM customers"},
    {"count customers where identified", "SELECT count(*) FROM trait"},
    {"count customers where did \"Order Completed\" at least 2 times and did not \"Order "
     "Completed\" "
     "since 2011-09-10",
     "SELECT count(*) FROM (SELECT who FROM o GROUP BY who HAVING count(*) >= 2 AND max(ts) < "
     "'2011-09-10')"},
    {"count customers where sum(\"Order Completed\".revenue) > 1000 from 2010-12-10 to 2011-12-10 "
     "and "
     "trait country in (\"Germany\", \"France\")",
     "SELECT count(*) FROM (SELECT who FROM o JOIN trait USING (who) WHERE ts >= '2010-12-10' AND "
     "ts < "
     "'2011-12-10' AND trait.country IN ('Germany', 'France') GROUP BY who HAVING sum(revenue) > "
     "1000)"},
    {"count customers where did \"Order Completed\" where any products.sku = \"85123A\"",
     "SELECT count(DISTINCT who) FROM o JOIN lines USING (invoice) WHERE sku = '85123A'"},
    {"count customers where did \"Order Completed\" where (revenue >= 500 and any products.name "
     "contains \"LAMP\") before 2011-06-01",
     "SELECT count(DISTINCT who) FROM o JOIN lines USING (invoice) WHERE revenue >= 500 AND o.ts < "
     "'2011-06-01' AND instr(name, 'LAMP')"},
    {"count customers where did \"Order Completed\" exactly 1 time and not identified",
     "SELECT count(*) FROM (SELECT who FROM o WHERE NOT known GROUP BY who HAVING count(*) = 1)"},
    {"count customers where did \"Order Completed\" by trait country",
     "SELECT t.country c, count(*) FROM (SELECT DISTINCT who FROM o) LEFT JOIN trait t USING (who) "
     "GROUP "
     "BY c ORDER BY c"},
    {"total of events of \"Order Completed\", sum(\"Order Completed\".revenue), unique customers "
     "of "
     "\"Order Completed\"",
     "SELECT count(*), sum(revenue), count(DISTINCT who) FROM o"},
    {"trend of sum(\"Order Completed\".revenue) by week split by trait country in 2011",
     "SELECT date(ts, 'weekday 0', '-6 days') w, t.country c, sum(revenue) FROM o LEFT JOIN trait "
     "t USING "
     "(who) WHERE ts >= '2011-01-01' AND ts < '2012-01-01' GROUP BY w, c ORDER BY w, c"},
    {"trend of unique customers of \"Order Completed\" by month",
     "SELECT date(ts, 'start of month') m, count(DISTINCT who) FROM o GROUP BY m ORDER BY m"},
    {"trend of events, unique customers by month",
     "SELECT m, count(*), count(DISTINCT who) FROM (SELECT date(ts, 'start of month') m, who FROM "
     "orders "
     "UNION ALL SELECT date(min(ts), 'start of month'), customer FROM lines WHERE customer IS NOT "
     "NULL "
     "GROUP BY "
     "customer HAVING rowid = min(rowid)) GROUP BY m ORDER BY m"},
    {"retention from first \"Order Completed\" to \"Order Completed\" by month over 12 months "
     "among "
     "customers where identified",
     "WITH c AS (SELECT who, min(ts) f FROM o WHERE known GROUP BY who),"
     " n AS (SELECT date(f, 'start of month') m, count(*) size FROM c GROUP BY m),"
     " k(k) AS (VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12)),"
     " r AS (SELECT date(f, 'start of month') m, (substr(ts, 1, 4) - substr(f, 1, 4)) * 12 + "
     "substr(ts, 6, "
     "2) - substr(f, 6, 2) k, count(DISTINCT who) got FROM c JOIN o USING (who) GROUP BY 1, 2)"
     " SELECT n.m, k.k, size, ifnull(got, 0), ifnull(got, 0) * 1.0 / size FROM n JOIN k LEFT JOIN "
     "r ON r.m = "
     "n.m AND r.k = k.k WHERE date(n.m, '+' || k.k || ' months') <= '2011-12-01' ORDER BY n.m, "
     "k.k"},
    {"repeat of \"Order Completed\" by month from 2011-01-01 to 2011-07-01",
     "WITH j AS (SELECT DISTINCT who FROM o WHERE substr(ts, 1, 7) = '2011-01') SELECT date(ts, "
     "'start of "
     "month') m, count(DISTINCT who), count(DISTINCT who) * 1.0 / (SELECT count(*) FROM j) FROM o "
     "JOIN j "
     "USING (who) WHERE ts >= '2011-01-01' AND ts < '2011-07-01' GROUP BY m ORDER BY m"},
    {"top 20 \"Order Completed\".products.sku",
     "SELECT sku, count(*) n FROM lines JOIN o USING (invoice) GROUP BY sku ORDER BY n DESC, sku "
     "LIMIT 20"},
    {"top 10 \"Order Completed\".products.sku by customers in 2011",
     "SELECT sku, count(DISTINCT who) n FROM lines JOIN o USING (invoice) WHERE o.ts >= '2011' AND "
     "o.ts < "
     "'2012' GROUP BY sku ORDER BY n DESC, sku LIMIT 10"},
    {"top 10 \"Order Completed\".products.sku by sum(products.quantity)",
     "SELECT sku, sum(qty) n FROM lines JOIN o USING (invoice) GROUP BY sku ORDER BY n DESC, sku "
     "LIMIT 10"},
    {"rfm of \"Order Completed\" by revenue recency 30 days, 90 days frequency 2, 4 value 100, 500 "
     "before "
     "2011-12-10",
     "SELECT r, f, m, count(*), sum(v) FROM (SELECT 1 + (max(ts) >= '2011-11-10') + (max(ts) >= "
     "'2011-09-11 01:00:00') r, 1 + (count(*) >= 2) + (count(*) >= 4) f, 1 + (sum(revenue) >= 100) "
     "+ "
     "(sum(revenue) >= 500) m, sum(revenue) v FROM o GROUP BY who) GROUP BY r, f, m ORDER BY r, f, "
     "m"},
    {"time from first \"Order Completed\" to \"Order Refunded\"",
     "WITH a AS (SELECT who, min(ts) f FROM o GROUP BY who), p AS (SELECT unixepoch(min(ts)) - "
     "unixepoch(f) dt "
     "FROM a JOIN orders r USING (who) WHERE r.event = 'Order Refunded' AND r.ts >= f GROUP BY who)"
     " SELECT count(*), count(*) FROM p"},
    {"funnel \"Order Completed\", \"Order Refunded\", \"Order Completed\" within 30 days",
     "WITH s2 AS (SELECT DISTINCT a.who, a.invoice i1, b.invoice i2, a.ts t1, b.ts t2 FROM o a "
     "JOIN orders b "
     "ON b.who = a.who AND b.event = 'Order Refunded' AND b.ts >= a.ts AND unixepoch(b.ts) - "
     "unixepoch(a.ts) "
     "<= 2592000)"
     " SELECT 1, 'Order Completed', count(DISTINCT who) FROM o UNION ALL"
     " SELECT 2, 'Order Refunded', count(DISTINCT who) FROM s2 UNION ALL"
     " SELECT 3, 'Order Completed', count(DISTINCT s2.who) FROM s2 JOIN o c ON c.who = s2.who AND "
     "c.ts >= "
     "t2 AND unixepoch(c.ts) - unixepoch(t1) <= 2592000 AND c.invoice <> i1"},
    {"funnel any order \"Order Completed\", \"Order Refunded\" within 30 days by trait country",
     /* Both, in some order, at most 30 days apart. */
     "WITH e AS (SELECT * FROM orders WHERE event <> 'Order Adjusted'),"
     " w AS (SELECT DISTINCT who FROM e),"
     " p AS (SELECT DISTINCT a.who FROM e a JOIN e b USING (who) WHERE a.event = 'Order Completed' "
     "AND b.event = 'Order Refunded' AND abs(unixepoch(a.ts) - unixepoch(b.ts)) <= 2592000)"
     " SELECT c, k, iif(k = 1, 'any 1 of 2', 'all 2'), iif(k = 1, n, m), iif(k = 1, n, m) * 1.0 / n"
     " FROM (SELECT t.country c, count(*) n, count(p.who) m FROM w LEFT JOIN p USING (who) LEFT "
     "JOIN trait t USING (who) GROUP BY c) JOIN (SELECT 1 k UNION ALL SELECT 2) ORDER BY c, k"},
    {"compare customers where did \"Order Refunded\" with customers where identified and did not "
     "\"Order Refunded\" with at least 20 customers since 2011-03-01",
     /* Facts (kind, name, value, who), then the table of two by two. */
     "WITH side AS (SELECT who, max(event = 'Order Refunded') a, max(known) known FROM orders "
     "GROUP "
     "BY who), s AS (SELECT who, a FROM side WHERE a OR known),"
     " z AS (SELECT sum(a) * 1.0 sa, sum(1 - a) * 1.0 sb FROM s),"
     " f AS (SELECT 'trait' kind, 'country' name, country value, who FROM trait UNION ALL"
     " SELECT 'has trait', 'country', NULL, who FROM trait UNION ALL"
     " SELECT DISTINCT 'event', event, NULL, who FROM orders WHERE ts >= '2011-03-01' UNION ALL"
     " SELECT 'event', 'identify', NULL, customer FROM lines WHERE customer IS NOT NULL GROUP BY "
     "customer HAVING rowid = min(rowid) AND ts >= '2011-03-01'),"
     " n AS (SELECT kind, name, value, sum(a) na, sum(1 - a) nb, count(*) * 1.0 w FROM f JOIN s "
     "USING "
     "(who) GROUP BY kind, name, value HAVING count(*) >= 20)"
     " SELECT kind, name, value, na, nb, CAST(sa AS INTEGER), CAST(sb AS INTEGER), na / sa, nb / "
     "sb,"
     " na / sa - nb / sb, CASE WHEN nb > 0 THEN (na / sa) / (nb / sb) END,"
     " round(2 * (iif(na > 0, na * ln(na * (sa + sb) / (w * sa)), 0) + iif(nb > 0, nb * ln(nb * "
     "(sa "
     "+ sb) / (w * sb)), 0) + iif(sa > na, (sa - na) * ln((sa - na) * (sa + sb) / ((sa + sb - w) * "
     "sa)), 0) + iif(sb > nb, (sb - nb) * ln((sb - nb) * (sa + sb) / ((sa + sb - w) * sb)), 0)), "
     "6) g"
     " FROM n, z ORDER BY g DESC, kind, name, value"},
};

static void test_questions(void **state) {
    (void)state;
    struct sql_compare c;
    if (!compare_retail(&c)) skip();
    compare_setup(&c, SETUP);
    compare_ask(&c, QUESTIONS, sizeof QUESTIONS / sizeof QUESTIONS[0]);
    compare_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_questions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
