// Funnel that holds the product constant: looked at it, and put that one into the cart.
import { fromLevels } from '../suite/answers.mjs';

const STEPS = ['Product Viewed', 'Product Added'];
const IN = STEPS.map((s) => `'${s}'`).join(', ');

export default () => ({
  title: 'funnel of 2 steps, same product',
  keel: 'funnel "Product Viewed", "Product Added" with same product_id within 7 days',
  keelRows: (rows) => rows.map((r) => [r.step, r.customers]),
  peerRows: fromLevels(STEPS.length),
  clickhouse: {
    'by product': `SELECT l, count() FROM (SELECT max(level) AS l FROM (SELECT customer_id, product,
        windowFunnel(604800)(ts, ${STEPS.map((s) => `event = '${s}'`).join(', ')}) AS level
        FROM EV WHERE event IN (${IN}) GROUP BY customer_id, product) GROUP BY customer_id) GROUP BY l`,
    asof: `SELECT l, count() FROM (SELECT customer_id, if(customer_id IN (SELECT b.customer_id FROM
        (SELECT customer_id, product, ts FROM EV WHERE event = 'Product Added') AS b ASOF JOIN
        (SELECT customer_id, product, ts FROM EV WHERE event = 'Product Viewed') AS a
        ON a.customer_id = b.customer_id AND a.product = b.product AND b.ts >= a.ts
        WHERE b.ts - a.ts <= 604800), 2, 1) AS l FROM EV WHERE event = 'Product Viewed'
      GROUP BY customer_id) GROUP BY l`,
  },
  duckdb: {
    asof: `WITH a AS (SELECT customer_id, product, ts FROM EV WHERE event = 'Product Viewed'),
      b AS (SELECT b.customer_id FROM (SELECT customer_id, product, ts FROM EV
        WHERE event = 'Product Added') b
        ASOF JOIN a ON a.customer_id = b.customer_id AND a.product = b.product AND b.ts >= a.ts
        WHERE b.ts - a.ts <= INTERVAL 7 DAY),
      n AS (SELECT (SELECT count(DISTINCT customer_id) FROM a) n1,
        (SELECT count(DISTINCT customer_id) FROM b) n2)
      SELECT unnest([1, 2]), unnest([n1 - n2, n2]) FROM n`,
  },
});
