// Weekly cohorts by first order; in which of the next 12 weeks did they do anything?
export default ({ start, WEEK }) => ({
  title: 'weekly retention, periods 0 to 12',
  keel: 'retention from first "Order Completed" to any event by week over 12 weeks',
  keelRows: (rows) => rows
    .filter((r) => r.customers !== '0')
    .map((r) => [(Date.parse(r.cohort) / 1000 - start) / WEEK, r.period, r.customers]),
  clickhouse: {
    bits: `SELECT cohort, off, count() FROM (SELECT minIf(wk, event = 'Order Completed') AS cohort,
        groupBitOr(bitShiftLeft(toUInt64(1), wk)) AS m
        FROM (SELECT customer_id, event, toUInt8(intDiv(toUInt32(ts) - ${start}, ${WEEK})) AS wk FROM EV)
        GROUP BY customer_id HAVING countIf(event = 'Order Completed') > 0)
      ARRAY JOIN range(13) AS off WHERE bitTest(m, toUInt8(least(cohort + off, 63))) = 1
      GROUP BY cohort, off`,
    'buyers first': `SELECT cohort, off, count() FROM (SELECT
        minIf(wk, event = 'Order Completed') AS cohort, groupBitOr(bitShiftLeft(toUInt64(1), wk)) AS m
        FROM (SELECT customer_id, event, toUInt8(intDiv(toUInt32(ts) - ${start}, ${WEEK})) AS wk FROM EV
          WHERE customer_id IN (SELECT customer_id FROM EV WHERE event = 'Order Completed'))
        GROUP BY customer_id)
      ARRAY JOIN range(13) AS off WHERE bitTest(m, toUInt8(least(cohort + off, 63))) = 1
      GROUP BY cohort, off`,
  },
  duckdb: {
    bits: `SELECT cohort, off, count(*) FROM (SELECT min(wk) FILTER (event = 'Order Completed') AS cohort,
        bit_or(1::UBIGINT << wk) AS m
        FROM (SELECT customer_id, event, ((epoch(ts)::BIGINT - ${start}) // ${WEEK})::INTEGER AS wk FROM EV)
        GROUP BY customer_id HAVING count(*) FILTER (event = 'Order Completed') > 0), range(13) r(off)
      WHERE (m >> least(cohort + off, 63)::UBIGINT) & 1 = 1 GROUP BY cohort, off`,
    'buyers first': `SELECT cohort, off, count(*) FROM (SELECT
        min(wk) FILTER (event = 'Order Completed') AS cohort, bit_or(1::UBIGINT << wk) AS m
        FROM (SELECT customer_id, event, ((epoch(ts)::BIGINT - ${start}) // ${WEEK})::INTEGER AS wk FROM EV
          WHERE customer_id IN (SELECT customer_id FROM EV WHERE event = 'Order Completed'))
        GROUP BY customer_id), range(13) r(off)
      WHERE (m >> least(cohort + off, 63)::UBIGINT) & 1 = 1 GROUP BY cohort, off`,
  },
});
