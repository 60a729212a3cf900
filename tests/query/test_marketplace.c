/* A marketplace of many merchants (Olist: customers, order lines, payments) and the purchases of a
 * music shop (CDNOW, which the literature on repeat buying has counted), imported by the shipped
 * maps, asked by Keel and by SQLite. The SQL stands beside each question.
 *
 * Skipped with a message where the data is absent (KEEL_SHARED). ctest: timeout=300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sql_compare.h"

#define ASK(c, questions) compare_ask(c, questions, sizeof(questions) / sizeof((questions)[0]))

/* ---- Olist ---- */

/* This copy lacks the table that links orders to customers: an order is an anonymous customer of
 * its own, whom its lines and its payments share. A person has one id an order, and of his traits
 * the last row's hold. */
static const char OLIST_SETUP[] =
    "CREATE TABLE orders AS SELECT 'order:' || order_id who, min(ts) ts,"
    "  sum(round(price * 100)) / 100 revenue, sum(round(freight * 100)) / 100 shipping,"
    "  count(*) n, count(DISTINCT merchant) merchants FROM lines GROUP BY order_id;"
    "CREATE TABLE items AS SELECT 'order:' || order_id who, merchant, product, price, category"
    "  FROM lines LEFT JOIN products USING (product);"
    "CREATE TABLE paid AS SELECT 'order:' || order_id who, method, installments, value"
    "  FROM payments;"
    "CREATE TABLE person AS SELECT person who, city, state FROM customers GROUP BY person"
    "  HAVING rowid = max(rowid);"
    "CREATE INDEX orders_who ON orders(who); CREATE INDEX paid_who ON paid(who);"
    "CREATE INDEX items_who ON items(who);";

static const struct question OLIST[] = {
    {"count customers where identified", "SELECT count(DISTINCT person) FROM customers"},
    {"count customers where anonymous",
     "SELECT count(*) FROM (SELECT who FROM orders UNION SELECT who FROM paid)"},
    {"count customers where identified by trait state",
     "SELECT state, count(*) FROM person GROUP BY state ORDER BY state"},
    {"count customers where trait city starts with \"são \" or trait city matches \"^sao \"",
     "SELECT count(*) FROM person WHERE city LIKE 'são %' OR city LIKE 'sao %'"},
    {"count customers where count(identify) >= 3",
     "SELECT count(*) FROM (SELECT 1 FROM customers GROUP BY person HAVING count(*) >= 3)"},
    {"total of events of \"Order Completed\", sum(\"Order Completed\".revenue), "
     "sum(\"Order Completed\".shipping), unique customers of \"Order Completed\"",
     "SELECT count(*), sum(revenue), sum(shipping), count(DISTINCT who) FROM orders"},
    {"trend of sum(\"Order Completed\".revenue), events of \"Order Completed\" by quarter in 2017",
     "SELECT date(ts, 'start of month', (-((substr(ts, 6, 2) - 1) % 3)) || ' months') q,"
     " sum(revenue), count(*) FROM orders WHERE ts >= '2017' AND ts < '2018' GROUP BY q"
     " ORDER BY q"},
    {"top 10 \"Order Completed\".products.merchant_id by sum(products.price)",
     "SELECT merchant, sum(round(price * 100)) / 100 s FROM items GROUP BY merchant"
     " ORDER BY s DESC, merchant LIMIT 10"},
    {"top 10 \"Order Completed\".products.category by customers among customers where "
     "did \"Payment Info Entered\" where payment_method = \"boleto\"",
     "SELECT category, count(DISTINCT who) n FROM items WHERE category IS NOT NULL AND who IN"
     " (SELECT who FROM paid WHERE method = 'boleto') GROUP BY category"
     " ORDER BY n DESC, category LIMIT 10"},
    {"count customers where unique(\"Order Completed\".products.merchant_id) >= 2 and "
     "did \"Order Completed\" where shipping > 30",
     "SELECT count(*) FROM orders WHERE merchants >= 2 AND shipping > 30"},
    {"count customers where did \"Payment Info Entered\" where payment_method = \"voucher\" and "
     "did \"Payment Info Entered\" where payment_method = \"credit_card\"",
     "SELECT count(*) FROM (SELECT who FROM paid WHERE method = 'voucher' INTERSECT"
     " SELECT who FROM paid WHERE method = 'credit_card')"},
    {"count customers where did \"Payment Info Entered\" and did not \"Order Completed\"",
     "SELECT count(*) FROM (SELECT who FROM paid EXCEPT SELECT who FROM orders)"},
    {"count customers where did \"Payment Info Entered\" where (payment_method = \"credit_card\" "
     "and installments between 6 and 12) and sum(\"Order Completed\".revenue) > 500",
     "SELECT count(*) FROM orders WHERE revenue > 500 AND who IN (SELECT who FROM paid"
     " WHERE method = 'credit_card' AND installments BETWEEN 6 AND 12)"},
    {"total of events of \"Payment Info Entered\" where payment_method = \"credit_card\" "
     "by installments",
     "SELECT installments, count(*) FROM paid WHERE method = 'credit_card' GROUP BY installments"
     " ORDER BY installments"},
    {"total of sum(\"Payment Info Entered\".value), avg(\"Payment Info Entered\".value), "
     "max(\"Payment Info Entered\".installments) by payment_method",
     "SELECT method, sum(value), avg(value), max(installments) FROM paid GROUP BY method"
     " ORDER BY method"},
};

static void test_olist(void **state) {
    (void)state;
    struct sql_compare c;
    char customers[SHARED_PATH_MAX], items[SHARED_PATH_MAX], payments[SHARED_PATH_MAX];
    char products[SHARED_PATH_MAX];
    if (!shared_data("marketplace/customers.csv.gz", customers) ||
        !shared_data("marketplace/order_items.csv.gz", items) ||
        !shared_data("marketplace/order_payments.csv.gz", payments) ||
        !shared_data("marketplace/products.csv.gz", products))
        skip();
    compare_open(&c, "UTC", "BRL");
    assert_int_equal(compare_import(&c, "olist_customers.toml", customers, 99441), 99441);
    assert_int_equal(compare_import(&c, "olist_payments.toml", payments, 103886), 103886);
    assert_int_equal(compare_import(&c, "olist_items.toml", items, 112650), 98666);
    compare_table(&c, "olist_customers.toml", customers,
                  "CREATE TABLE customers(id TEXT, person TEXT, zip TEXT, city TEXT, state TEXT)",
                  "INSERT INTO customers VALUES(?,?,?,?,?)");
    compare_table(&c, "olist_payments.toml", payments,
                  "CREATE TABLE payments(order_id TEXT, nr INTEGER, method TEXT,"
                  " installments INTEGER, value REAL)",
                  "INSERT INTO payments VALUES(?,?,?,?,?)");
    compare_table(&c, "olist_items.toml", items,
                  "CREATE TABLE lines(order_id TEXT, nr INTEGER, product TEXT, merchant TEXT,"
                  " ts TEXT, price REAL, freight REAL)",
                  "INSERT INTO lines VALUES(?,?,?,?,?,?,?)");
    compare_table(&c, "olist_items.toml", products,
                  "CREATE TABLE products(product TEXT PRIMARY KEY, category TEXT, name_chars,"
                  " description_chars, photos, weight, length, height, width)",
                  "INSERT INTO products VALUES(?,?,?,?,?,?,?,?,?)");
    compare_setup(&c, OLIST_SETUP);
    ASK(&c, OLIST);
    compare_close(&c);
}

/* ---- CDNOW ---- */

static const char CDNOW_SETUP[] =
    "CREATE TABLE o AS SELECT who, substr(day, 1, 4) || '-' || substr(day, 5, 2) || '-' ||"
    "  substr(day, 7, 2) day, cds, dollars FROM purchases;"
    "CREATE INDEX o_who ON o(who, day);";

static const struct question CDNOW[] = {
    {"count customers where did \"Order Completed\" exactly 1 time",
     "SELECT count(*) FROM (SELECT 1 FROM o GROUP BY who HAVING count(*) = 1)"},
    {"trend of sum(\"Order Completed\".revenue), sum(\"Order Completed\".quantity), "
     "unique customers of \"Order Completed\" by month",
     "SELECT date(day, 'start of month') m, sum(dollars), sum(cds), count(DISTINCT who) FROM o"
     " GROUP BY m ORDER BY m"},
    {"retention from first \"Order Completed\" to \"Order Completed\" by month over 6 months",
     "WITH f AS (SELECT who, date(min(day), 'start of month') m FROM o GROUP BY who),"
     " k(k) AS (VALUES (0), (1), (2), (3), (4), (5), (6))"
     " SELECT m, k, (SELECT count(*) FROM f g WHERE g.m = f.m), count(DISTINCT o.who),"
     "  count(DISTINCT o.who) * 1.0 / (SELECT count(*) FROM f g WHERE g.m = f.m) FROM f JOIN k"
     " LEFT JOIN o ON o.who = f.who AND date(day, 'start of month') = date(m, k || ' months')"
     " GROUP BY m, k ORDER BY m, k"},
    {"rfm of \"Order Completed\" by revenue recency 91 days, 182 days frequency 2, 4, 8 value 50, "
     "150 before 1998-07-01",
     "SELECT r, f, m, count(*), sum(v) FROM (SELECT 1 + (max(day) >= '1998-04-01') +"
     "  (max(day) >= '1997-12-31') r, 1 + (count(*) >= 2) + (count(*) >= 4) + (count(*) >= 8) f,"
     "  1 + (sum(dollars) >= 50) + (sum(dollars) >= 150) m, sum(dollars) v FROM o GROUP BY who)"
     " GROUP BY r, f, m ORDER BY r, f, m"},
    {"list customers where sum(\"Order Completed\".revenue) >= 1000 with "
     "sum(\"Order Completed\".revenue), count(\"Order Completed\"), max(\"Order "
     "Completed\".quantity) order by sum(\"Order Completed\".revenue) desc limit 20",
     "SELECT who, sum(dollars) s, count(*), max(cds) FROM o GROUP BY who HAVING s >= 1000"
     " ORDER BY s DESC LIMIT 20"},
};

/* The whole cohort: 23,570 customers, 69,659 purchases. */
static const struct question MASTER[] = {
    {"count customers", "SELECT 23570"},
    {"total of events, unique customers, sum(\"Order Completed\".quantity)",
     "SELECT 69659, 23570, sum(cds) FROM o"},
};

/* The sample of one in ten, and how many of its customers bought again in the first 39 weeks, on 0,
 * 1, … 6, more days: Fader, Hardie and Lee, "Counting Your Customers" the Easy Way (2005). */
static const struct question SAMPLE[] = {
    {"total of events, unique customers", "SELECT 6919, 2357"},
    {"count customers where unique(\"Order Completed\".time) = 1 before 1997-10-01", "SELECT 1411"},
    {"count customers where unique(\"Order Completed\".time) = 2 before 1997-10-01", "SELECT 439"},
    {"count customers where unique(\"Order Completed\".time) = 3 before 1997-10-01", "SELECT 214"},
    {"count customers where unique(\"Order Completed\".time) = 4 before 1997-10-01", "SELECT 100"},
    {"count customers where unique(\"Order Completed\".time) = 5 before 1997-10-01", "SELECT 62"},
    {"count customers where unique(\"Order Completed\".time) = 6 before 1997-10-01", "SELECT 38"},
    {"count customers where unique(\"Order Completed\".time) = 7 before 1997-10-01", "SELECT 29"},
    {"count customers where unique(\"Order Completed\".time) > 7 before 1997-10-01", "SELECT 64"},
};

static void cdnow(const char *map, const char *path, uint64_t rows, const char *create,
                  const char *insert, const struct question *known, size_t n) {
    struct sql_compare c;
    compare_open(&c, "UTC", "USD");
    compare_at(&c, 1998, 7, 1);
    assert_int_equal(compare_import(&c, map, path, rows), rows);
    compare_table(&c, map, path, create, insert);
    compare_setup(&c, CDNOW_SETUP);
    compare_ask(&c, known, n);
    ASK(&c, CDNOW);
    compare_close(&c);
}

static void test_cdnow(void **state) {
    (void)state;
    char master[SHARED_PATH_MAX];
    if (!shared_data("clv/CDNOW_master.txt.gz", master)) skip();
    cdnow("cdnow.toml", master, 69659,
          "CREATE TABLE purchases(who TEXT, day TEXT, cds INTEGER, dollars REAL)",
          "INSERT INTO purchases VALUES(?,?,?,?)", MASTER, sizeof MASTER / sizeof MASTER[0]);
}

static void test_cdnow_sample(void **state) {
    (void)state;
    char sample[SHARED_PATH_MAX];
    if (!shared_data("clv/CDNOW_sample.txt", sample)) skip();
    cdnow("cdnow_sample.toml", sample, 6919,
          "CREATE TABLE purchases(who TEXT, nr TEXT, day TEXT, cds INTEGER, dollars REAL)",
          "INSERT INTO purchases VALUES(?,?,?,?,?)", SAMPLE, sizeof SAMPLE / sizeof SAMPLE[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_olist), cmocka_unit_test(test_cdnow),
                                       cmocka_unit_test(test_cdnow_sample)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
