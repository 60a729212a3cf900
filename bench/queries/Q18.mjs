// Funnel by the channel of the first step, with the median time of each step, over the chain that
// docs/query-language.md defines: ends first, then has the latest first step, then the latest second.
const chain = (engine) => {
  const ch = engine === 'clickhouse';
  const argMin = ch ? 'argMin' : 'arg_min';
  const within = (a, b) => (ch ? `${b} - ${a} <= 604800` : `${b} - ${a} <= INTERVAL 7 DAY`);
  const seconds = (a, b) => (ch ? `toUInt32(${b}) - toUInt32(${a})` : `epoch(${b} - ${a})::BIGINT`);
  const countIf = (c) => (ch ? `countIf(${c})` : `count(*) FILTER (${c})`);
  const median = (x, c) => (ch
    ? `quantileExactLowIf(0.5)(${x}, ${c})` : `quantile_disc(${x}, 0.5) FILTER (${c})`);
  return `WITH a AS (SELECT customer_id, ts, channel FROM EV WHERE event = 'Product Viewed'),
    b AS (SELECT b.customer_id AS customer_id, b.ts AS t2, a.ts AS t1, a.channel AS channel
      FROM (SELECT customer_id, ts FROM EV WHERE event = 'Product Added') AS b
      ASOF JOIN a ON a.customer_id = b.customer_id AND b.ts >= a.ts WHERE ${within('a.ts', 'b.ts')}),
    c AS (SELECT c.customer_id AS customer_id, c.ts AS t3, b.t2 AS t2, b.t1 AS t1, b.channel AS channel
      FROM (SELECT customer_id, ts FROM EV WHERE event = 'Order Completed') AS c
      ASOF JOIN b ON b.customer_id = c.customer_id AND c.ts >= b.t2 WHERE ${within('b.t1', 'c.ts')}),
    l AS (SELECT customer_id, 1 AS level, ${argMin}(channel, ts) AS ch, 0 AS d2, 0 AS d3 FROM a
        GROUP BY customer_id
      UNION ALL SELECT customer_id, 2, ${argMin}(channel, t2), ${seconds(`${argMin}(t1, t2)`, 'min(t2)')},
        0 FROM b GROUP BY customer_id
      UNION ALL SELECT customer_id, 3, ${argMin}(channel, t3),
        ${seconds(`${argMin}(t1, t3)`, `${argMin}(t2, t3)`)},
        ${seconds(`${argMin}(t2, t3)`, 'min(t3)')} FROM c GROUP BY customer_id),
    k AS (SELECT max(level) AS lv, ${argMin}(ch, -level) AS channel, ${argMin}(d2, -level) AS x2,
      ${argMin}(d3, -level) AS x3 FROM l GROUP BY customer_id)
    SELECT ${ch ? 'channel' : 'channel::VARCHAR'}, count(*), ${countIf('lv >= 2')}, ${countIf('lv >= 3')}, ${median('x2', 'lv >= 2')},
      ${median('x3', 'lv >= 3')} FROM k GROUP BY channel`;
};

export default () => ({
  title: 'funnel of 3 steps by channel, median times',
  keel: `funnel "Product Viewed", "Product Added", "Order Completed" within 7 days by context.channel`,
  keelRows: (rows) => {
    const by = new Map();
    for (const r of rows) {
      const row = by.get(r['context.channel']) ?? [r['context.channel'], 0, 0, 0, null, null];
      row[Number(r.step)] = r.customers;
      if (r.step !== '1') row[Number(r.step) + 2] = r.median_seconds;
      by.set(r['context.channel'], row);
    }
    return [...by.values()];
  },
  peerRows: (rows) => rows.map((r) =>
    [r[0], r[1], r[2], r[3], r[2] === '0' ? null : r[4], r[3] === '0' ? null : r[5]]),
  clickhouse: { asof: chain('clickhouse') },
  duckdb: { asof: chain('duckdb') },
});
