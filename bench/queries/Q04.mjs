// Of those who bought in January, how many bought in each month up to June?
const MONTHS = [1, 2, 3, 4, 5, 6];

export default () => ({
  title: 'repeat purchase by month, January to June',
  keel: 'repeat of "Order Completed" by month from 2024-01-01 to 2024-07-01',
  keelRows: (rows) => [rows.map((r) => r.customers)],
  clickhouse: {
    retention: `SELECT ${MONTHS.map((m) => `sum(r[${m}])`).join(', ')} FROM (SELECT retention(
      ${MONTHS.map((m) => `toMonth(ts) = ${m}`).join(', ')}) AS r FROM EV
      WHERE event = 'Order Completed' AND ts < toDateTime('2024-07-01 00:00:00', 'UTC')
      GROUP BY customer_id)`,
    bits: `SELECT ${MONTHS.map((m) => `countIf(bitTest(b, ${m}))`).join(', ')} FROM (SELECT
      groupBitOr(bitShiftLeft(toUInt8(1), toMonth(ts))) AS b FROM EV
      WHERE event = 'Order Completed' AND ts < toDateTime('2024-07-01 00:00:00', 'UTC')
      GROUP BY customer_id HAVING bitTest(b, 1))`,
  },
  duckdb: {
    'bool_or': `SELECT ${MONTHS.map((m) => `count(*) FILTER (m1 AND m${m})`).join(', ')} FROM (SELECT
      ${MONTHS.map((m) => `bool_or(month(ts) = ${m}) AS m${m}`).join(', ')} FROM EV
      WHERE event = 'Order Completed' AND ts < TIMESTAMP '2024-07-01' GROUP BY customer_id)`,
    bits: `SELECT ${MONTHS.map((m) => `count(*) FILTER (b & ${1 << m} > 0)`).join(', ')} FROM (SELECT
      bit_or(1 << month(ts)::INTEGER) AS b FROM EV
      WHERE event = 'Order Completed' AND ts < TIMESTAMP '2024-07-01' GROUP BY customer_id)
      WHERE b & 2 > 0`,
  },
});
