// Exact unique customers, and events, by day and country.
export default () => ({
  title: 'exact uniques by day and country',
  keel: 'trend of unique customers, events by day split by context.location.country',
  keelRows: (rows) => rows.map((r) =>
    [r.day, r['context.location.country'], r['unique customers'], r.events]),
  clickhouse: {
    uniqExact: `SELECT toDate(ts) AS d, country, uniqExact(customer_id), count() FROM EV
      GROUP BY d, country`,
    'group twice': `SELECT d, country, count(), sum(n) FROM (SELECT toDate(ts) AS d, country, customer_id,
      count() AS n FROM EV GROUP BY d, country, customer_id) GROUP BY d, country`,
    bitmap: `SELECT toDate(ts) AS d, country, groupBitmap(customer_id), count() FROM EV
      GROUP BY d, country`,
  },
  duckdb: {
    distinct: `SELECT d, country::VARCHAR, u, n FROM (SELECT ts::DATE AS d, country,
      count(DISTINCT customer_id) AS u, count(*) AS n FROM EV GROUP BY d, country)`,
    'group twice': `SELECT d, country::VARCHAR, u, m FROM (SELECT d, country, count(*) AS u, sum(n) AS m
      FROM (SELECT ts::DATE AS d, country, customer_id, count(*) AS n FROM EV
        GROUP BY d, country, customer_id) GROUP BY d, country)`,
  },
});
