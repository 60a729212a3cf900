// Funnel of four steps within seven days.
import { fromLevels } from '../suite/answers.mjs';

const STEPS = ['Product Viewed', 'Product Added', 'Checkout Started', 'Order Completed'];
const IN = STEPS.map((s) => `'${s}'`).join(', ');
const WITHIN = 7 * 86400;

// The latest valid start is monotone in time, so an ASOF join per step has the funnel's meaning.
const asofStep = (n) => `e${n} AS (SELECT b.customer_id, b.ts AS t, a.s
  FROM (SELECT customer_id, ts FROM EV WHERE event = '${STEPS[n - 1]}') b
  ASOF JOIN e${n - 1} a ON a.customer_id = b.customer_id AND b.ts >= a.t
  WHERE b.ts - a.s <= INTERVAL ${WITHIN} SECOND)`;

export default () => ({
  title: 'funnel, 4 steps within 7 days',
  keel: `funnel ${STEPS.map((s) => `"${s}"`).join(', ')} within 7 days`,
  keelRows: (rows) => rows.map((r) => [r.step, r.customers]),
  peerRows: fromLevels(STEPS.length),
  clickhouse: {
    windowFunnel: `SELECT level, count() FROM (SELECT windowFunnel(${WITHIN})(ts,
      ${STEPS.map((s) => `event = '${s}'`).join(', ')}) AS level
      FROM EV WHERE event IN (${IN}) GROUP BY customer_id) GROUP BY level`,
    'windowFunnel, number': `SELECT level, count() FROM (SELECT windowFunnel(${WITHIN})(toUInt32(ts),
      ${STEPS.map((s) => `event = '${s}'`).join(', ')}) AS level
      FROM EV WHERE event IN (${IN}) GROUP BY customer_id) GROUP BY level`,
  },
  duckdb: {
    asof: `WITH e1 AS (SELECT customer_id, ts AS t, ts AS s FROM EV WHERE event = '${STEPS[0]}'),
      ${asofStep(2)}, ${asofStep(3)}, ${asofStep(4)},
      n AS (SELECT (SELECT count(DISTINCT customer_id) FROM e1) n1,
        (SELECT count(DISTINCT customer_id) FROM e2) n2,
        (SELECT count(DISTINCT customer_id) FROM e3) n3,
        (SELECT count(DISTINCT customer_id) FROM e4) n4)
      SELECT unnest([1, 2, 3, 4]), unnest([n1 - n2, n2 - n3, n3 - n4, n4]) FROM n`,
    windows: `WITH a AS (SELECT customer_id, event, epoch(ts)::BIGINT AS t,
        max(CASE WHEN event = '${STEPS[0]}' THEN epoch(ts)::BIGINT END) OVER w AS s1
        FROM EV WHERE event IN (${IN}) WINDOW w AS (PARTITION BY customer_id ORDER BY ts)),
      b AS (SELECT *, max(CASE WHEN event = '${STEPS[1]}' AND t - s1 <= ${WITHIN} THEN s1 END) OVER w
        AS s2 FROM a WINDOW w AS (PARTITION BY customer_id ORDER BY t)),
      c AS (SELECT *, max(CASE WHEN event = '${STEPS[2]}' AND t - s2 <= ${WITHIN} THEN s2 END) OVER w
        AS s3 FROM b WINDOW w AS (PARTITION BY customer_id ORDER BY t)),
      d AS (SELECT *, CASE WHEN event = '${STEPS[3]}' AND t - s3 <= ${WITHIN} THEN s3 END AS s4 FROM c)
      SELECT level, count(*) FROM (SELECT CASE WHEN max(s4) IS NOT NULL THEN 4
        WHEN max(s3) IS NOT NULL THEN 3 WHEN max(s2) IS NOT NULL THEN 2
        WHEN max(s1) IS NOT NULL THEN 1 ELSE 0 END AS level FROM d GROUP BY customer_id)
      GROUP BY level`,
  },
});
