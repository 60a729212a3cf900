// The people who stopped at a step. Only their number is compared: Keel names them by user_id or
// anonymous_id, the peers by the number that they were given. Keel lists a million at most.
const STEPS = ['Product Viewed', 'Product Added', 'Order Completed'];
const MOST = 1000000;
const IN = STEPS.map((s) => `'${s}'`).join(', ');

export default () => ({
  title: 'list of the people who stopped at step 2',
  keel: `list customers where stopped at step 2 of ("Product Viewed", "Product Added",
    "Order Completed" within 7 days) limit ${MOST}`,
  keelRows: (rows) => [[rows.length]],
  peerRows: (rows) => [[rows.length]],
  clickhouse: {
    windowFunnel: `SELECT customer_id FROM EV WHERE event IN (${IN}) GROUP BY customer_id
      HAVING windowFunnel(604800)(ts, ${STEPS.map((s) => `event = '${s}'`).join(', ')}) = 2 LIMIT ${MOST}`,
  },
  duckdb: {
    asof: `WITH e1 AS (SELECT customer_id, ts AS t, ts AS s FROM EV WHERE event = '${STEPS[0]}'),
      e2 AS (SELECT b.customer_id, b.ts AS t, a.s FROM (SELECT customer_id, ts FROM EV
        WHERE event = '${STEPS[1]}') b ASOF JOIN e1 a ON a.customer_id = b.customer_id AND b.ts >= a.t
        WHERE b.ts - a.s <= INTERVAL 7 DAY),
      e3 AS (SELECT b.customer_id FROM (SELECT customer_id, ts FROM EV WHERE event = '${STEPS[2]}') b
        ASOF JOIN e2 a ON a.customer_id = b.customer_id AND b.ts >= a.t
        WHERE b.ts - a.s <= INTERVAL 7 DAY)
      SELECT DISTINCT customer_id FROM e2 WHERE customer_id NOT IN (SELECT customer_id FROM e3)
      LIMIT ${MOST}`,
  },
});
