/* A grocer's year: dunnhumby's Complete Journey, four files of one household each, imported by the
 * shipped maps, asked by Keel and by SQLite. Baskets with their lines, campaigns that were sent,
 * coupons that were redeemed, and what is known of the households. The SQL stands beside each
 * question.
 *
 * Skipped with a message where the data is absent (KEEL_SHARED). ctest: timeout=300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sql_compare.h"

/* Times are UTC; `at` is a moment in seconds. `seq` is the order in which events came in, which
 * decides between equal times: campaigns were imported before redemptions, and these before
 * baskets. */
static const char SETUP[] =
    "CREATE TABLE orders AS SELECT 20000000 + min(rowid) seq, basket, household who, min(ts) ts,"
    "  unixepoch(min(ts)) at, store, sum(round(sales * 100)) / 100 revenue, sum(qty) quantity,"
    "  sum(round((coupon_disc + match_disc) * 100)) / 100 coupon FROM lines GROUP BY basket;"
    "CREATE TABLE items AS SELECT basket, household who, product, qty, sales, department, brand,"
    "  category FROM lines LEFT JOIN products USING (product);"
    "CREATE TABLE received AS SELECT c.rowid seq, household who, campaign, kind, start ts,"
    "  unixepoch(start) at FROM campaigns c JOIN descriptions USING (campaign);"
    "CREATE TABLE applied AS SELECT 10000000 + rowid seq, household who, campaign, day ts,"
    "  unixepoch(day) at FROM redemptions;"
    "CREATE TABLE person AS SELECT household who, age, income, composition, kids FROM demographics;"
    "CREATE TABLE everyone AS SELECT who FROM orders UNION SELECT who FROM received"
    "  UNION SELECT who FROM applied UNION SELECT who FROM person;"
    "CREATE INDEX orders_who ON orders(who, at); CREATE INDEX received_who ON received(who, at);"
    "CREATE INDEX applied_who ON applied(who, at); CREATE INDEX items_who ON items(who);"
    "CREATE INDEX person_who ON person(who);";

static const struct question QUESTIONS[] = {
    /* ---- segments ---- */
    {"count customers", "SELECT count(*) FROM everyone"},
    {"count customers where did \"Order Completed\" at least 10 times and trait income in "
     "(\"100-124K\", \"125-149K\", \"150-174K\")",
     "SELECT count(*) FROM (SELECT who FROM orders JOIN person USING (who)"
     " WHERE income IN ('100-124K', '125-149K', '150-174K') GROUP BY who HAVING count(*) >= 10)"},
    {"count customers where sum(\"Order Completed\".revenue) > 200 since 2017-07-01 and not "
     "(trait kids_count = \"0\" or trait kids_count is missing)",
     "SELECT count(*) FROM (SELECT who FROM orders JOIN person USING (who)"
     " WHERE ts >= '2017-07-01' AND kids <> '0' GROUP BY who HAVING sum(revenue) > 200)"},
    {"count customers where did \"Campaign Received\" and did not \"Coupon Applied\" by trait age",
     "SELECT age, count(*) FROM everyone LEFT JOIN person USING (who)"
     " WHERE who IN (SELECT who FROM received) AND who NOT IN (SELECT who FROM applied)"
     " GROUP BY age ORDER BY age"},
    {"count customers where did \"Coupon Applied\" followed by \"Order Completed\" within 1 day",
     "SELECT count(DISTINCT a.who) FROM applied a JOIN orders o ON o.who = a.who AND o.at >= a.at"
     " AND o.at <= a.at + 86400"},
    {"count customers where did \"Campaign Received\" not followed by \"Coupon Applied\" within "
     "30 days",
     "SELECT count(*) FROM (SELECT who, max(at) at FROM received GROUP BY who) r WHERE NOT EXISTS"
     " (SELECT 1 FROM applied a WHERE a.who = r.who AND a.at BETWEEN r.at AND r.at + 2592000)"},
    {"count customers where unique(\"Order Completed\".products.department) >= 6 and "
     "unique(\"Order Completed\".store_id) = 1",
     "SELECT count(*) FROM (SELECT who FROM items GROUP BY who HAVING count(DISTINCT department)"
     " >= 6) JOIN (SELECT who FROM orders GROUP BY who HAVING count(DISTINCT store) = 1)"
     " USING (who)"},
    {"count customers where did \"Order Completed\" where (any products.category = \"SOFT DRINKS\""
     " and not any products.brand = \"Private\") between 2 and 5 times",
     "SELECT count(*) FROM (SELECT who FROM (SELECT who, basket FROM items GROUP BY basket"
     " HAVING max(category = 'SOFT DRINKS') AND NOT max(brand = 'Private'))"
     " GROUP BY who HAVING count(*) BETWEEN 2 AND 5)"},
    {"count customers where did \"Order Completed\" where all products.quantity = 1 at least 5 "
     "times",
     "SELECT count(*) FROM (SELECT who FROM (SELECT who FROM items GROUP BY basket"
     " HAVING min(qty = 1)) GROUP BY who HAVING count(*) >= 5)"},
    {"count customers where did \"Order Completed\" at least 20 times by "
     "first(\"Campaign Received\").campaign_type",
     "SELECT (SELECT kind FROM received r WHERE r.who = b.who ORDER BY at, seq LIMIT 1) k, count(*)"
     " FROM (SELECT who FROM orders GROUP BY who HAVING count(*) >= 20) b GROUP BY k ORDER BY k"},
    {"list customers where trait household_composition = \"1 Adult Kids\" with "
     "sum(\"Order Completed\".revenue), count(\"Order Completed\"), avg(\"Order "
     "Completed\".revenue), trait age order by sum(\"Order Completed\".revenue) desc limit 10",
     "SELECT who, sum(revenue) s, count(*), avg(revenue), age FROM orders JOIN person USING (who)"
     " WHERE composition = '1 Adult Kids' GROUP BY who ORDER BY s DESC LIMIT 10"},
    /* ---- campaign -> redemption -> basket ---- */
    {"funnel \"Campaign Received\", \"Coupon Applied\", \"Order Completed\" within 60 days",
     "WITH two AS (SELECT r.who, r.at t1, a.at t2 FROM received r JOIN applied a ON a.who = r.who"
     "  AND a.at BETWEEN r.at AND r.at + 5184000),"
     " n(step, event, n) AS (SELECT 1, 'Campaign Received', count(DISTINCT who) FROM received"
     "  UNION ALL SELECT 2, 'Coupon Applied', count(DISTINCT who) FROM two"
     "  UNION ALL SELECT 3, 'Order Completed', count(DISTINCT o.who) FROM two JOIN orders o"
     "  ON o.who = two.who AND o.at >= t2 AND o.at <= t1 + 5184000)"
     " SELECT step, event, n, n * 1.0 / (SELECT n FROM n WHERE step = 1) FROM n ORDER BY step"},
    /* The chain that ends first, and of these the one with the latest first step. */
    {"funnel \"Campaign Received\", \"Coupon Applied\" within 60 days by campaign_type",
     "WITH c AS (SELECT r.who, min(a.at) t2, max(r.at) t1 FROM received r JOIN applied a"
     "  ON a.who = r.who AND a.at BETWEEN r.at AND r.at + 5184000 GROUP BY r.who, a.at),"
     " d AS (SELECT who, min(t2) t2, t1 FROM c GROUP BY who"
     "  UNION ALL SELECT who, NULL, min(at) FROM received WHERE who NOT IN (SELECT who FROM c)"
     "  GROUP BY who),"
     " k AS (SELECT DISTINCT d.who, kind, t2 - t1 dt FROM d JOIN received r ON r.who = d.who"
     "  AND r.at = t1),"
     " m AS (SELECT kind, dt, row_number() OVER (PARTITION BY kind ORDER BY dt) i,"
     "  count(*) OVER (PARTITION BY kind) n FROM k WHERE dt IS NOT NULL)"
     " SELECT kind, 1 step, 'Campaign Received', count(*), 1, NULL FROM k GROUP BY kind"
     " UNION ALL SELECT kind, 2, 'Coupon Applied', count(dt), count(dt) * 1.0 / count(*),"
     "  (SELECT dt FROM m WHERE m.kind = k.kind AND i = (n + 1) / 2) FROM k GROUP BY kind"
     " ORDER BY kind, step"},
    {"funnel \"Campaign Received\", \"Coupon Applied\" with same campaign_id within 60 days",
     "SELECT 1, 'Campaign Received', count(DISTINCT who) FROM received UNION ALL"
     " SELECT 2, 'Coupon Applied', count(DISTINCT r.who) FROM received r JOIN applied a"
     " ON a.who = r.who AND a.campaign = r.campaign AND a.at BETWEEN r.at AND r.at + 5184000"},
    {"count customers where stopped at step 1 of (\"Campaign Received\", \"Coupon Applied\" with "
     "same campaign_id within 60 days) and trait age exists",
     "SELECT count(DISTINCT who) FROM received JOIN person USING (who) WHERE age IS NOT NULL AND"
     " who NOT IN (SELECT r.who FROM received r JOIN applied a ON a.who = r.who"
     " AND a.campaign = r.campaign AND a.at BETWEEN r.at AND r.at + 5184000)"},
    {"time from first \"Campaign Received\" to \"Coupon Applied\" percentiles 50, 90, 99",
     "WITH f AS (SELECT who, min(at) t FROM received GROUP BY who),"
     " d AS (SELECT f.who, min(a.at) - t dt FROM f JOIN applied a ON a.who = f.who AND a.at >= t"
     "  GROUP BY f.who),"
     " r AS (SELECT dt, row_number() OVER (ORDER BY dt) i, count(*) OVER () n FROM d)"
     " SELECT n, n, max(dt) FILTER (WHERE i = (n * 50 + 99) / 100),"
     "  max(dt) FILTER (WHERE i = (n * 90 + 99) / 100),"
     "  max(dt) FILTER (WHERE i = (n * 99 + 99) / 100) FROM r"},
    {"time from each \"Coupon Applied\" to \"Order Completed\" within 7 days by trait income",
     "WITH d AS (SELECT a.who, min(o.at) - a.at dt FROM applied a JOIN orders o ON o.who = a.who"
     "  AND o.at >= a.at GROUP BY a.seq HAVING dt <= 604800),"
     " r AS (SELECT income, d.who, dt, row_number() OVER (PARTITION BY income ORDER BY dt) i,"
     "  count(*) OVER (PARTITION BY income) n FROM d LEFT JOIN person USING (who))"
     " SELECT income, count(DISTINCT who), n, max(dt) FILTER (WHERE i = (n * 50 + 99) / 100),"
     "  max(dt) FILTER (WHERE i = (n * 90 + 99) / 100) FROM r GROUP BY income ORDER BY income"},
    {"attribute sum(\"Order Completed\".revenue) to last \"Campaign Received\" by campaign_id "
     "within 28 days",
     "SELECT (SELECT campaign FROM received r WHERE r.who = o.who"
     "  AND r.at BETWEEN o.at - 2419200 AND o.at ORDER BY at DESC, seq DESC LIMIT 1) c,"
     " sum(revenue) s, count(*), count(DISTINCT who) FROM orders o GROUP BY c ORDER BY s DESC, c"},
    {"attribute events of \"Order Completed\" to first \"Campaign Received\", \"Coupon Applied\" "
     "by campaign_id within 14 days in 2017-05",
     "SELECT (SELECT campaign FROM (SELECT who, at, seq, campaign FROM received UNION ALL"
     "  SELECT who, at, seq, campaign FROM applied) t WHERE t.who = o.who"
     "  AND t.at BETWEEN o.at - 1209600 AND o.at ORDER BY at, seq LIMIT 1) c,"
     " count(*) n, count(*), count(DISTINCT who) FROM orders o"
     " WHERE ts >= '2017-05-01' AND ts < '2017-06-01' GROUP BY c ORDER BY n DESC, c"},
    /* ---- coming back ---- */
    {"retention from first \"Order Completed\" to \"Order Completed\" by month over 3 months "
     "split by trait income",
     "WITH f AS (SELECT who, date(min(ts), 'start of month') m, income FROM orders LEFT JOIN person"
     "  USING (who) GROUP BY who),"
     " n AS (SELECT income, m, count(*) size FROM f GROUP BY income, m),"
     " k(k) AS (VALUES (0), (1), (2), (3)),"
     " r AS (SELECT income, m, k, count(DISTINCT who) got FROM f JOIN k JOIN orders USING (who)"
     "  WHERE date(ts, 'start of month') = date(m, '+' || k || ' months') GROUP BY income, m, k)"
     " SELECT n.income, n.m, k.k, size, ifnull(got, 0), ifnull(got, 0) * 1.0 / size FROM n JOIN k"
     " LEFT JOIN r ON r.income IS n.income AND r.m = n.m AND r.k = k.k"
     " WHERE date(n.m, '+' || k.k || ' months') <= '2017-12-01' ORDER BY n.income, n.m, k.k"},
    {"retention from each \"Coupon Applied\" to \"Order Completed\" by week over 4 weeks since "
     "2017-06-01",
     "WITH w AS (SELECT DISTINCT who, date(ts, 'weekday 0', '-6 days') w FROM applied"
     "  WHERE ts >= '2017-06-01'),"
     " b AS (SELECT DISTINCT who, date(ts, 'weekday 0', '-6 days') w FROM orders"
     "  WHERE ts >= '2017-06-01'),"
     " k(k) AS (VALUES (0), (1), (2), (3), (4))"
     " SELECT w.w, k, count(DISTINCT w.who) n, count(DISTINCT b.who),"
     "  count(DISTINCT b.who) * 1.0 / count(DISTINCT w.who) FROM w JOIN k LEFT JOIN b"
     "  ON b.who = w.who AND b.w = date(w.w, (7 * k) || ' days')"
     " WHERE date(w.w, (7 * k) || ' days') <= '2017-12-25' GROUP BY w.w, k ORDER BY w.w, k"},
    {"repeat of \"Order Completed\" by month from 2017-01-01 to 2017-07-01 among customers where "
     "trait household_size = \"2\" or did \"Coupon Applied\"",
     "WITH o AS (SELECT who, date(ts, 'start of month') m FROM orders WHERE who IN"
     "  (SELECT household FROM demographics WHERE size = '2' UNION SELECT who FROM applied)),"
     " j AS (SELECT DISTINCT who FROM o WHERE m = '2017-01-01')"
     " SELECT m, count(DISTINCT who), count(DISTINCT who) * 1.0 / (SELECT count(*) FROM j) FROM o"
     " JOIN j USING (who) WHERE m >= '2017-01-01' AND m < '2017-07-01' GROUP BY m ORDER BY m"},
    {"rfm of \"Order Completed\" by revenue recency 30 days, 90 days frequency 5, 20 value 50, 200 "
     "before 2018-01-01 among customers where trait age exists",
     "SELECT r, f, m, count(*), sum(v) FROM (SELECT 1 + (max(ts) >= '2017-12-02') +"
     "  (max(ts) >= '2017-10-03') r, 1 + (count(*) >= 5) + (count(*) >= 20) f,"
     "  1 + (sum(revenue) >= 50) + (sum(revenue) >= 200) m, sum(revenue) v FROM orders"
     "  JOIN person USING (who) WHERE ts < '2018-01-01' AND age IS NOT NULL GROUP BY who)"
     " GROUP BY r, f, m ORDER BY r, f, m"},
    {"sessions of \"Order Completed\" with gap 14 days by month",
     "WITH g AS (SELECT who, at, ts, at - lag(at) OVER (PARTITION BY who ORDER BY at) gap"
     "  FROM orders),"
     " s AS (SELECT who, at, ts, sum(gap IS NULL OR gap > 1209600) OVER (PARTITION BY who"
     "  ORDER BY at ROWS UNBOUNDED PRECEDING) nr FROM g),"
     " t AS (SELECT who, min(ts) ts, count(*) n, max(at) - min(at) d FROM s GROUP BY who, nr)"
     " SELECT date(ts, 'start of month') m, count(*), sum(n = 1), sum(n), count(DISTINCT who),"
     "  sum(d), sum(d) * 1.0 / count(*) FROM t GROUP BY m ORDER BY m"},
    {"paths of 3 events within 1 day limit 20",
     "WITH e AS (SELECT who, at, seq, 'Order Completed' e FROM orders UNION ALL"
     "  SELECT who, at, seq, 'Campaign Received' FROM received UNION ALL"
     "  SELECT who, at, seq, 'Coupon Applied' FROM applied UNION ALL"
     "  SELECT who, unixepoch('2017-01-01'), 0, 'identify' FROM person),"
     " p AS (SELECT who, at t1, e e1, lead(e, 1) OVER w e2, lead(e, 2) OVER w e3,"
     "  lead(at, 1) OVER w t2, lead(at, 2) OVER w t3 FROM e"
     "  WINDOW w AS (PARTITION BY who ORDER BY at, seq))"
     " SELECT e1, e2, e3, count(*) n, count(DISTINCT who) FROM p WHERE t2 - t1 <= 86400"
     " AND t3 - t2 <= 86400 GROUP BY e1, e2, e3 ORDER BY n DESC, e1, e2, e3 LIMIT 20"},
    /* ---- what is bought, and when ---- */
    {"top 10 \"Order Completed\".products.product_id by customers among customers where trait "
     "household_composition in (\"1 Adult Kids\", \"2 Adults Kids\")",
     "SELECT product, count(DISTINCT who) n FROM items JOIN person USING (who) WHERE composition"
     " IN ('1 Adult Kids', '2 Adults Kids') GROUP BY product ORDER BY n DESC, product LIMIT 10"},
    {"top 10 \"Order Completed\".products.department by sum(products.total)",
     "SELECT department, sum(sales) s FROM items WHERE department IS NOT NULL GROUP BY department"
     " ORDER BY s DESC, department LIMIT 10"},
    {"top 15 \"Order Completed\".products.category in 2017-12",
     "SELECT category, count(*) n FROM items JOIN orders USING (basket) WHERE ts >= '2017-12-01'"
     " AND ts < '2018-01-01' AND category IS NOT NULL GROUP BY category ORDER BY n DESC, category"
     " LIMIT 15"},
    {"trend of sum(\"Order Completed\".revenue), unique customers of \"Order Completed\" by week "
     "split by trait age",
     "SELECT date(ts, 'weekday 0', '-6 days') w, age, sum(revenue), count(DISTINCT who) FROM orders"
     " LEFT JOIN person USING (who) GROUP BY w, age ORDER BY w, age"},
    {"trend of unique customers of \"Order Completed\" over 4 weeks by week",
     "WITH o AS (SELECT DISTINCT who, date(ts, 'weekday 0', '-6 days') w FROM orders),"
     " w AS (SELECT DISTINCT w FROM o)"
     " SELECT w.w, (SELECT count(DISTINCT who) FROM o WHERE o.w BETWEEN date(w.w, '-21 days')"
     " AND w.w) FROM w ORDER BY w.w"},
    {"total of events of \"Order Completed\", sum(\"Order Completed\".quantity), avg(\"Order "
     "Completed\".coupon_discount), max(\"Order Completed\".revenue) by store_id",
     "SELECT store, count(*), sum(quantity), avg(coupon), max(revenue) FROM orders GROUP BY store"
     " ORDER BY store"},
};

static void test_questions(void **state) {
    (void)state;
    struct sql_compare c;
    char people[SHARED_PATH_MAX], campaigns[SHARED_PATH_MAX], kinds[SHARED_PATH_MAX];
    char redemptions[SHARED_PATH_MAX], lines[SHARED_PATH_MAX], products[SHARED_PATH_MAX];
    if (!shared_data("journey/demographics.csv.gz", people) ||
        !shared_data("journey/campaigns.csv.gz", campaigns) ||
        !shared_data("journey/campaign_descriptions.csv.gz", kinds) ||
        !shared_data("journey/coupon_redemptions.csv.gz", redemptions) ||
        !shared_data("journey/transactions_sample.csv.gz", lines) ||
        !shared_data("journey/products.csv.gz", products))
        skip();
    compare_open(&c, "UTC", "USD");
    compare_at(&c, 2018, 1, 15);
    assert_int_equal(compare_import(&c, "journey_demographics.toml", people, 801), 801);
    assert_int_equal(compare_import(&c, "journey_campaigns.toml", campaigns, 6589), 6589);
    assert_int_equal(compare_import(&c, "journey_redemptions.toml", redemptions, 2102), 2102);
    compare_import(&c, "journey_transactions.toml", lines, 75000);

    compare_table(&c, "journey_demographics.toml", people,
                  "CREATE TABLE demographics(household TEXT, age TEXT, income TEXT, home TEXT,"
                  " marital TEXT, size TEXT, composition TEXT, kids TEXT)",
                  "INSERT INTO demographics VALUES(?,?,?,?,?,?,?,?)");
    compare_table(&c, "journey_campaigns.toml", campaigns,
                  "CREATE TABLE campaigns(campaign TEXT, household TEXT)",
                  "INSERT INTO campaigns VALUES(?,?)");
    compare_table(&c, "journey_campaigns.toml", kinds,
                  "CREATE TABLE descriptions(campaign TEXT, kind TEXT, start TEXT, ends TEXT)",
                  "INSERT INTO descriptions VALUES(?,?,?,?)");
    compare_table(&c, "journey_redemptions.toml", redemptions,
                  "CREATE TABLE redemptions(household TEXT, coupon TEXT, campaign TEXT, day TEXT)",
                  "INSERT INTO redemptions VALUES(?,?,?,?)");
    compare_table(&c, "journey_transactions.toml", lines,
                  "CREATE TABLE lines(household TEXT, store TEXT, basket TEXT, product TEXT,"
                  " qty REAL, sales REAL, retail_disc REAL, coupon_disc REAL, match_disc REAL,"
                  " week INTEGER, ts TEXT)",
                  "INSERT INTO lines VALUES(?,?,?,?,?,?,?,?,?,?,?)");
    compare_table(&c, "journey_transactions.toml", products,
                  "CREATE TABLE products(product TEXT PRIMARY KEY, maker TEXT, department TEXT,"
                  " brand TEXT, category TEXT, kind TEXT, size TEXT)",
                  "INSERT INTO products VALUES(?,?,?,?,?,?,?)");
    compare_setup(&c, SETUP);
    compare_ask(&c, QUESTIONS, sizeof QUESTIONS / sizeof QUESTIONS[0]);
    compare_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_questions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
