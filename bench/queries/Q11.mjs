// Recency, frequency and value of buyers, three classes each.
export default ({ end, DAY }) => {
  const grid = (time, count, classes) => `SELECT r, f, m, ${count} FROM (SELECT
    ${classes(`max(ts) >= ${time(end - 30 * DAY)}`, `max(ts) >= ${time(end - 90 * DAY)}`)} AS r,
    ${classes(`${count} >= 4`, `${count} >= 2`)} AS f,
    ${classes('sum(revenue) >= 50000', 'sum(revenue) >= 10000')} AS m
    FROM EV WHERE event = 'Order Completed' GROUP BY customer_id) GROUP BY r, f, m`;
  return {
    title: 'recency-frequency-value grid',
    keel: `rfm of "Order Completed" by revenue recency 30 days, 90 days frequency 2, 4
      value 100, 500`,
    keelRows: (rows) => rows.map((r) => [r.recency, r.frequency, r.value, r.customers]),
    clickhouse: {
      group: grid((t) => `toDateTime(${t}, 'UTC')`, 'count()', (a, b) => `multiIf(${a}, 3, ${b}, 2, 1)`),
    },
    duckdb: {
      group: grid((t) => `make_timestamp(${t}000000)`, 'count(*)',
        (a, b) => `CASE WHEN ${a} THEN 3 WHEN ${b} THEN 2 ELSE 1 END`),
    },
  };
};
