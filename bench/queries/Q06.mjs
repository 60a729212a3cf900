// The same, approximate where an engine has that. Keel's answer is exact, so answers are not compared.
export default () => ({
  title: 'approximate uniques by day and country (Keel: exact)',
  compare: false,
  keel: 'trend of unique customers, events by day split by context.location.country',
  keelRows: (rows) => rows.map((r) =>
    [r.day, r['context.location.country'], r['unique customers'], r.events]),
  clickhouse: {
    uniqCombined: `SELECT toDate(ts) AS d, country, uniqCombined(12)(customer_id), count() FROM EV
      GROUP BY d, country`,
    uniqHLL12: `SELECT toDate(ts) AS d, country, uniqHLL12(customer_id), count() FROM EV
      GROUP BY d, country`,
  },
  duckdb: {
    approx: `SELECT d, country::VARCHAR, u, n FROM (SELECT ts::DATE AS d, country,
      approx_count_distinct(customer_id) AS u, count(*) AS n FROM EV GROUP BY d, country)`,
  },
});
