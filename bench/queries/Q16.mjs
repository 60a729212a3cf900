// Funnel with an exclusion: no message to support between the first step and the step reached.
// With distinct times, an exclusion cuts a history into pieces, and each is a history of its own.
import { fromLevels } from '../suite/answers.mjs';

const STEPS = ['Product Viewed', 'Product Added', 'Order Completed'];
const OUT = 'Support Message Received';
const IN = [...STEPS, OUT].map((s) => `'${s}'`).join(', ');
const FUNNEL = `windowFunnel(604800)(ts, ${STEPS.map((s) => `event = '${s}'`).join(', ')})`;

const asofStep = (n) => `e${n} AS (SELECT b.customer_id, b.piece, b.ts AS t, a.s
  FROM (SELECT customer_id, piece, ts FROM p WHERE event = '${STEPS[n - 1]}') b
  ASOF JOIN e${n - 1} a ON a.customer_id = b.customer_id AND a.piece = b.piece AND b.ts >= a.t
  WHERE b.ts - a.s <= INTERVAL 7 DAY)`;

export default () => ({
  title: 'funnel of 3 steps with an exclusion',
  keel: `funnel ${STEPS.map((s) => `"${s}"`).join(', ')} without "${OUT}" within 7 days`,
  keelRows: (rows) => rows.map((r) => [r.step, r.customers]),
  peerRows: fromLevels(STEPS.length),
  clickhouse: {
    pieces: `SELECT l, count() FROM (SELECT max(level) AS l FROM (SELECT customer_id, piece,
        ${FUNNEL} AS level FROM (SELECT customer_id, ts, event,
          countIf(event = '${OUT}') OVER (PARTITION BY customer_id ORDER BY ts) AS piece
          FROM EV WHERE event IN (${IN})) GROUP BY customer_id, piece) GROUP BY customer_id) GROUP BY l`,
    'pieces where needed': `WITH who AS (SELECT customer_id FROM EV WHERE event = '${OUT}')
      SELECT l, count() FROM (SELECT ${FUNNEL} AS l FROM EV WHERE event IN (${IN})
        AND customer_id NOT IN who GROUP BY customer_id
      UNION ALL SELECT max(level) AS l FROM (SELECT customer_id, piece, ${FUNNEL} AS level
        FROM (SELECT customer_id, ts, event,
          countIf(event = '${OUT}') OVER (PARTITION BY customer_id ORDER BY ts) AS piece
          FROM EV WHERE event IN (${IN}) AND customer_id IN who) GROUP BY customer_id, piece)
        GROUP BY customer_id) GROUP BY l`,
  },
  duckdb: {
    asof: `WITH p AS MATERIALIZED (SELECT customer_id, event, ts, count(*) FILTER (event = '${OUT}')
        OVER (PARTITION BY customer_id ORDER BY ts) AS piece FROM EV WHERE event IN (${IN})),
      e1 AS (SELECT customer_id, piece, ts AS t, ts AS s FROM p WHERE event = '${STEPS[0]}'),
      ${asofStep(2)}, ${asofStep(3)},
      n AS (SELECT (SELECT count(DISTINCT customer_id) FROM e1) n1,
        (SELECT count(DISTINCT customer_id) FROM e2) n2, (SELECT count(DISTINCT customer_id) FROM e3) n3)
      SELECT unnest([1, 2, 3]), unnest([n1 - n2, n2 - n3, n3]) FROM n`,
  },
});
