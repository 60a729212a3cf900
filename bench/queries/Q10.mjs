// Sessions with a gap of half an hour: how many, how many of one event, how long together.
export default () => ({
  title: 'sessions, bounces, total time',
  keel: 'sessions with gap 30 minutes',
  keelRows: (rows) => rows.map((r) => [r.sessions, r.bounces, r.total_seconds]),
  clickhouse: {
    arrays: `SELECT sum(s), sum(b), sum(dur) FROM (SELECT arraySort(groupArray(toUInt32(ts))) AS st,
      arrayMap((x, y) -> x - y, arraySlice(st, 2), arraySlice(st, 1, length(st) - 1)) AS g,
      arrayMap(x -> x > 1800, g) AS k, 1 + arrayCount(x -> x = 1, k) AS s,
      arrayCount((x, y) -> x = 1 AND y = 1, arrayConcat([1], k), arrayConcat(k, [1])) AS b,
      arraySum(arrayMap(x -> if(x > 1800, 0, x), g)) AS dur FROM EV GROUP BY customer_id)`,
    windows: `SELECT countIf(st), countIf(st AND en), sumIf(t - p, NOT st) FROM (SELECT toInt64(ts) AS t,
      toInt64(lagInFrame(ts, 1, toDateTime(0, 'UTC')) OVER w) AS p,
      toInt64(leadInFrame(ts, 1, toDateTime(2000000000, 'UTC')) OVER w) AS nx,
      t - p > 1800 AS st, nx - t > 1800 AS en FROM EV WINDOW w AS (PARTITION BY customer_id ORDER BY ts
      ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING))`,
  },
  duckdb: {
    windows: `SELECT count(*) FILTER (st), count(*) FILTER (st AND en),
      sum(CASE WHEN NOT st THEN t - p END) FROM (SELECT t, p, (p IS NULL OR t - p > 1800) AS st,
        (n IS NULL OR n - t > 1800) AS en FROM (SELECT epoch(ts)::BIGINT AS t,
          epoch(lag(ts) OVER w)::BIGINT AS p, epoch(lead(ts) OVER w)::BIGINT AS n FROM EV
          WINDOW w AS (PARTITION BY customer_id ORDER BY ts)))`,
    lists: `SELECT sum(1 + len(list_filter(g, lambda x: x > 1800))),
        sum(len(list_filter(list_zip(list_prepend(9999, g), list_append(g, 9999)),
          lambda x: x[1] > 1800 AND x[2] > 1800))),
        sum(list_sum(list_filter(g, lambda x: x <= 1800)))
      FROM (SELECT list_transform(list_zip(l[2:], l[:-2]), lambda x: x[1] - x[2]) AS g
        FROM (SELECT list_sort(list(epoch(ts)::BIGINT)) AS l FROM EV GROUP BY customer_id))`,
  },
});
