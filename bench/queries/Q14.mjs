// For every day, the unique customers of the seven days that end with it.
export default ({ end }) => ({
  title: 'rolling uniques of 7 days, by day',
  keel: 'trend of unique customers over 7 days by day',
  keelRows: (rows) => rows.map((r) => [r.day, r['unique customers']]),
  clickhouse: {
    bitmap: `SELECT d, groupBitmapMerge(b) OVER (ORDER BY d ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)
      FROM (SELECT toDate(ts) AS d, groupBitmapState(customer_id) AS b FROM EV GROUP BY d)`,
    explode: `SELECT d + x AS dd, uniqExact(customer_id) FROM (SELECT DISTINCT toDate(ts) AS d, customer_id
      FROM EV) ARRAY JOIN range(7) AS x GROUP BY dd HAVING dd < toDate(toDateTime(${end}, 'UTC'))`,
    'days of a customer': `SELECT dd, count() FROM (SELECT arrayJoin(arrayDistinct(arrayFlatten(arrayMap(
      d -> arrayMap(x -> toUInt16(d + x), range(7)), groupUniqArray(toUInt16(toDate(ts))))))) AS n,
      toDate(n) AS dd FROM EV GROUP BY customer_id) GROUP BY dd
      HAVING dd < toDate(toDateTime(${end}, 'UTC'))`,
  },
  duckdb: {
    explode: `SELECT dd, count(DISTINCT customer_id) FROM (SELECT DISTINCT ts::DATE AS d, customer_id
      FROM EV), LATERAL (SELECT d + x::INTEGER AS dd FROM range(7) t(x))
      WHERE dd < make_timestamp(${end}000000)::DATE GROUP BY dd`,
    'distinct twice': `SELECT dd, count(*) FROM (SELECT DISTINCT d + x::INTEGER AS dd, customer_id FROM
      (SELECT DISTINCT ts::DATE AS d, customer_id FROM EV), range(7) t(x))
      WHERE dd < make_timestamp(${end}000000)::DATE GROUP BY dd`,
  },
});
