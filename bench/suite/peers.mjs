// The peers: how each lays the ten columns out, loads them, and which settings its queries run with.
//
// Both get what helps them: dense customer numbers with identity resolved beforehand, dictionary
// types for every name, codecs, a copy in the order of customers and one in the order of events, and
// merged or sorted tables. What is best is decided by measuring (main.mjs).
import { mkdirSync, readdirSync, statSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from './engine.mjs';

const NAMES = ['event', 'channel', 'device', 'country', 'campaign', 'category'];
const COLUMNS = ['customer_id', 'ts', 'event', 'channel', 'device', 'country', 'campaign', 'product',
  'category', 'revenue'];
const FRESH_INSERTS = 20;

const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

function bytesBelow(path) {
  if (!existsSync(path)) return 0;
  const s = statSync(path);
  if (!s.isDirectory()) return s.size;
  return readdirSync(path).reduce((sum, name) => sum + bytesBelow(join(path, name)), 0);
}

/** Sums what several calls cost. */
async function timed(engine, statements) {
  const sum = { wall_ms: 0, cpu_ms: 0, peak_kb: 0 };
  for (const sql of statements) {
    const r = await engine.query(sql);
    sum.wall_ms += r.wall_ms;
    sum.cpu_ms += r.cpu_ms;
    sum.peak_kb = Math.max(sum.peak_kb, r.peak_kb);
  }
  return sum;
}

/** Bounds of ts that cut the fresh rows into as many inserts. */
const slices = (values) => Array.from({ length: FRESH_INSERTS }, (_, i) => {
  const from = values.fresh_from_ts, step = (values.asked_ts - from) / FRESH_INSERTS;
  return [i ? Math.floor(from + i * step) : 0,
    i === FRESH_INSERTS - 1 ? 4294967295 : Math.floor(from + (i + 1) * step)];
});

// ---- ClickHouse, in this machine's process (chDB) ----

const CH_FILE = `'customer_id UInt32, ts UInt32, event String, channel String, device String,
  country String, campaign String, product UInt32, category String, revenue UInt32'`;

const chTable = (name, order, partition, codecs) => {
  const delta = codecs ? 'CODEC(Delta, ZSTD(1))' : '';
  const zstd = codecs ? 'CODEC(ZSTD(1))' : '';
  const lc = (column) => `${column} LowCardinality(String) ${zstd}`;
  return `CREATE TABLE ${name} (customer_id UInt32 ${delta}, ts DateTime('UTC') ${delta}, ${lc('event')},
    ${lc('channel')}, ${lc('device')}, ${lc('country')}, ${lc('campaign')}, product UInt32 ${zstd},
    ${lc('category')}, revenue UInt32 ${zstd}) ENGINE = MergeTree ${partition} ORDER BY ${order}`;
};

const CH_LAYOUTS = {
  'by customer': { table: 'by_customer', order: '(customer_id, ts)', partition: '', codecs: true },
  'by customer, lz4': { table: 'by_customer_lz4', order: '(customer_id, ts)', partition: '', codecs: false },
  'by event': { table: 'by_event', order: '(event, toDate(ts), customer_id)',
    partition: 'PARTITION BY toYYYYMM(ts)', codecs: true },
};

export class ClickHouse {
  constructor(place, tools, threads) {
    this.name = 'ClickHouse';
    this.dir = join(place, 'clickhouse');
    this.library = join(tools.modules, '@chdb/lib-linux-x64-gnu/libchdb.so');
    this.program = join(tools.bin, 'bench_peer');
    this.threads = threads;
  }

  async start() {
    mkdirSync(this.dir, { recursive: true });
    this.engine = new Engine(this.name, this.program, ['clickhouse', this.library, this.dir, String(this.threads)]);
    await this.engine.query('CREATE DATABASE IF NOT EXISTS bench');
    await this.engine.query('USE bench');
    for (const setting of ['use_query_cache = 0', 'use_query_condition_cache = 0',
      'max_memory_usage = 16000000000', `max_threads = ${this.threads}`]) {
      await this.engine.query(`SET ${setting}`);
    }
    this.version = (await this.engine.query('SELECT version()')).rows[0][0];
  }

  async load(csv, files, layout, table = layout.table) {
    const from = files.map((f) => `SELECT * FROM file('${join(csv, f)}', CSV, ${CH_FILE})`).join(' UNION ALL ');
    await this.engine.query(`DROP TABLE IF EXISTS ${table}`);
    return timed(this.engine, [
      chTable(table, layout.order, layout.partition, layout.codecs),
      `INSERT INTO ${table} ${from}`,
      `OPTIMIZE TABLE ${table} FINAL`,
    ]);
  }

  async loadAll(csv) {
    const cost = {};
    for (const [name, layout] of Object.entries(CH_LAYOUTS)) {
      cost[name] = await this.load(csv, ['base.csv', 'fresh.csv'], layout);
      const [[bytes, rows]] = (await this.engine.query(
        `SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE active AND database = 'bench'
         AND table = '${layout.table}'`)).rows;
      cost[name].bytes = Number(bytes);
      cost[name].rows = Number(rows);
    }
    return cost;
  }

  /** base.csv merged; then the rest in small inserts that stay as they are. All ids as they are in the
   * end, which the peers are given for nothing. */
  async loadFresh(csv, values) {
    await this.engine.query('DROP TABLE IF EXISTS merged');
    await this.engine.query('CREATE TABLE merged (f UInt32, t UInt32) ENGINE = Memory');
    await this.engine.query(`INSERT INTO merged SELECT * FROM file('${join(csv, 'merged.csv')}', CSV, 'f UInt32, t UInt32')`);
    const rest = COLUMNS.slice(1).join(', ');
    const select = (file) => `SELECT if(m.f = e.customer_id AND m.t > 0, m.t, e.customer_id) AS customer_id, ${rest}
      FROM file('${join(csv, file)}', CSV, ${CH_FILE}) AS e LEFT ANY JOIN merged AS m ON e.customer_id = m.f`;
    for (const [name, layout] of Object.entries(CH_LAYOUTS)) {
      if (!layout.codecs) continue;
      const table = `${layout.table}_fresh`;
      await this.engine.query(`DROP TABLE IF EXISTS ${table}`);
      await this.engine.query(chTable(table, layout.order, layout.partition, layout.codecs));
      await this.engine.query(`INSERT INTO ${table} ${select('base.csv')}`);
      await this.engine.query(`OPTIMIZE TABLE ${table} FINAL`);
      await this.engine.query(`SYSTEM STOP MERGES ${table}`);
      for (const [from, to] of slices(values)) {
        await this.engine.query(`INSERT INTO ${table} ${select('fresh.csv')} WHERE e.ts >= ${from} AND e.ts < ${to}`);
      }
      await this.engine.query(`INSERT INTO ${table} SELECT * FROM file('${join(csv, 'links.csv')}', CSV, ${CH_FILE})`);
    }
  }

  /** Every way to ask: [{form, layout, sql}]. */
  candidates(query, fresh) {
    const out = [];
    for (const [form, sql] of Object.entries(query.clickhouse)) {
      for (const [layout, { table, codecs }] of Object.entries(CH_LAYOUTS)) {
        if (fresh && !codecs) continue;
        const text = sql.replaceAll(/\bEV\b/g, fresh ? `${table}_fresh` : table);
        out.push({ form, layout, sql: text });
        if (layout === 'by customer' && /GROUP BY customer_id/.test(text)) {
          out.push({ form: `${form}, in order`, layout,
            sql: `${text} SETTINGS optimize_aggregation_in_order = 1` });
        }
      }
    }
    return out;
  }

  timeline(customer, table = 'by_customer') {
    return `SELECT ts FROM (SELECT * FROM ${table} WHERE customer_id = ${customer} ORDER BY ts DESC LIMIT 100)`;
  }

  timelineWhole(customer, table = 'by_customer') {
    return `SELECT * FROM ${table} WHERE customer_id = ${customer} ORDER BY ts DESC LIMIT 100`;
  }

  files() {
    return [this.dir];
  }

  /** From NDJSON to a table: the shapes tried. The first two leave all other properties out. */
  ingest(file) {
    const lc = 'LowCardinality(String)';
    const structure = `'messageId String, anonymousId String, userId String, type ${lc}, event ${lc}, name ${lc},
      properties Tuple(product_id String, category ${lc}, revenue Float64),
      context Tuple(channel ${lc}, device Tuple(type ${lc}), location Tuple(country ${lc}), campaign Tuple(name ${lc})),
      timestamp String'`;
    const table = `CREATE TABLE ingest (message_id String, anonymous_id String, user_id String, type ${lc},
      event ${lc}, name ${lc}, product String, category ${lc}, revenue Float64, channel ${lc}, device ${lc},
      country ${lc}, campaign ${lc}, ts DateTime64(3, 'UTC'), rest String) ENGINE = MergeTree ORDER BY (user_id, ts)`;
    const settings = `SETTINGS input_format_json_ignore_unknown_keys_in_named_tuple = 1,
      input_format_json_defaults_for_missing_elements_in_named_tuple = 1, input_format_skip_unknown_fields = 1`;
    const x = (path, type = lc) => `JSONExtract(j, ${path}, '${type}')`;
    return {
      setup: ['DROP TABLE IF EXISTS ingest', table],
      forms: {
        'JSONEachRow, columns only': `INSERT INTO ingest SELECT messageId, anonymousId, userId, type, event, name,
          tupleElement(properties, 'product_id'), tupleElement(properties, 'category'),
          tupleElement(properties, 'revenue'), tupleElement(context, 'channel'),
          tupleElement(tupleElement(context, 'device'), 'type'),
          tupleElement(tupleElement(context, 'location'), 'country'),
          tupleElement(tupleElement(context, 'campaign'), 'name'),
          parseDateTime64BestEffort(timestamp, 3, 'UTC'), '' FROM file('${file}', JSONEachRow, ${structure}) ${settings}`,
        'JSONExtract, all kept as text': `INSERT INTO ingest SELECT ${x("'messageId'", 'String')},
          ${x("'anonymousId'", 'String')}, ${x("'userId'", 'String')}, ${x("'type'")}, ${x("'event'")},
          ${x("'name'")}, ${x("'properties', 'product_id'", 'String')}, ${x("'properties', 'category'")},
          ${x("'properties', 'revenue'", 'Float64')}, ${x("'context', 'channel'")},
          ${x("'context', 'device', 'type'")}, ${x("'context', 'location', 'country'")},
          ${x("'context', 'campaign', 'name'")},
          parseDateTime64BestEffort(${x("'timestamp'", 'String')}, 3, 'UTC'), j
          FROM file('${file}', JSONAsString, 'j String')`,
      },
      check: 'SELECT count(), round(sum(revenue) * 100), uniqExact(product) FROM ingest',
    };
  }
}

// ---- DuckDB ----

const DUCK_FILE = `{'customer_id': 'UINTEGER', 'ts': 'UINTEGER', 'event': 'VARCHAR', 'channel': 'VARCHAR',
  'device': 'VARCHAR', 'country': 'VARCHAR', 'campaign': 'VARCHAR', 'product': 'UINTEGER',
  'category': 'VARCHAR', 'revenue': 'UINTEGER'}`;

const DUCK_LAYOUTS = {
  'by customer': { database: 'by_customer', order: 'customer_id, ts' },
  'by event': { database: 'by_event', order: 'event, ts::DATE, customer_id' },
};

export class DuckDB {
  constructor(place, tools, threads) {
    this.name = 'DuckDB';
    this.dir = join(place, 'duckdb');
    this.library = join(tools.modules, '@duckdb/node-bindings-linux-x64/libduckdb.so');
    this.program = join(tools.bin, 'bench_peer');
    this.threads = threads;
  }

  async start() {
    mkdirSync(this.dir, { recursive: true });
    this.engine = new Engine(this.name, this.program, ['duckdb', this.library, ':memory:', String(this.threads)]);
    await this.engine.query("SET memory_limit = '16GB'");
    await this.engine.query(`SET temp_directory = '${join(this.dir, 'spill')}'`);
    await this.engine.query("SET TimeZone = 'UTC'");
    for (const { database } of Object.values(DUCK_LAYOUTS)) {
      for (const name of [database, `${database}_fresh`]) {
        await this.engine.query(`ATTACH '${join(this.dir, name)}.duckdb' AS ${name}`);
      }
    }
    this.version = (await this.engine.query('SELECT version()')).rows[0][0];
  }

  async prepare(database, values) {
    await this.engine.query(`DROP TABLE IF EXISTS ${database}.ev`);
    for (const name of NAMES) {
      await this.engine.query(`DROP TYPE IF EXISTS ${database}.t_${name}`);
      await this.engine.query(`CREATE TYPE ${database}.t_${name} AS ENUM (${values[name].map(quoted).join(', ')})`);
    }
  }

  // An empty field of CSV is NULL to read_csv; the tables have '' instead, as ClickHouse's.
  select(database, from, customer = 'customer_id') {
    const typed = (n) => (NAMES.includes(n) ? `coalesce(${n}, '')::${database}.t_${n} AS ${n}` : n);
    return `SELECT ${customer} AS customer_id, make_timestamp(ts::BIGINT * 1000000) AS ts,
      ${COLUMNS.slice(2).map(typed).join(', ')} FROM ${from}`;
  }

  csv(csv, files) {
    return `read_csv([${files.map((f) => `'${join(csv, f)}'`).join(', ')}], header = false, quote = '"',
      escape = '"', columns = ${DUCK_FILE})`;
  }

  async loadAll(csv, values) {
    const cost = {};
    for (const [name, { database, order }] of Object.entries(DUCK_LAYOUTS)) {
      await this.prepare(database, values);
      cost[name] = await timed(this.engine, [
        `CREATE TABLE ${database}.ev AS SELECT * FROM (${this.select(database, this.csv(csv, ['base.csv', 'fresh.csv']))}) ORDER BY ${order}`,
        `CHECKPOINT ${database}`,
      ]);
      cost[name].bytes = bytesBelow(join(this.dir, `${database}.duckdb`));
      cost[name].rows = Number((await this.engine.query(`SELECT count(*) FROM ${database}.ev`)).rows[0][0]);
    }
    return cost;
  }

  async loadFresh(csv, values) {
    await this.engine.query(`CREATE OR REPLACE TABLE merged AS SELECT * FROM
      read_csv('${join(csv, 'merged.csv')}', header = false, columns = {'f': 'UINTEGER', 't': 'UINTEGER'})`);
    for (const { database, order } of Object.values(DUCK_LAYOUTS)) {
      const place = `${database}_fresh`;
      const select = (file) => this.select(place, `${this.csv(csv, [file])} LEFT JOIN merged ON f = customer_id`,
        'coalesce(t, customer_id)');
      await this.prepare(place, values);
      await this.engine.query(`CREATE TABLE ${place}.ev AS SELECT * FROM (${select('base.csv')}) ORDER BY ${order}`);
      for (const [from, to] of slices(values)) {
        await this.engine.query(`INSERT INTO ${place}.ev ${select('fresh.csv')} WHERE epoch(make_timestamp(ts::BIGINT * 1000000)) >= ${from}
          AND epoch(make_timestamp(ts::BIGINT * 1000000)) < ${to}`);
      }
      await this.engine.query(`INSERT INTO ${place}.ev ${this.select(place, this.csv(csv, ['links.csv']))}`);
      await this.engine.query(`CHECKPOINT ${place}`);
    }
  }

  candidates(query, fresh) {
    const out = [];
    for (const [form, sql] of Object.entries(query.duckdb)) {
      for (const [layout, { database }] of Object.entries(DUCK_LAYOUTS)) {
        out.push({ form, layout, sql: sql.replaceAll(/\bEV\b/g, `${database}${fresh ? '_fresh' : ''}.ev`) });
      }
    }
    return out;
  }

  timeline(customer) {
    return `SELECT epoch(ts)::BIGINT FROM by_customer.ev WHERE customer_id = ${customer} ORDER BY ts DESC LIMIT 100`;
  }

  timelineWhole(customer) {
    return `SELECT * FROM by_customer.ev WHERE customer_id = ${customer} ORDER BY ts DESC LIMIT 100`;
  }

  files() {
    return Object.values(DUCK_LAYOUTS).map(({ database }) => join(this.dir, `${database}.duckdb`));
  }

  ingest(file) {
    const columns = (rest) => `{messageId: 'VARCHAR', anonymousId: 'VARCHAR', userId: 'VARCHAR', type: 'VARCHAR',
      event: 'VARCHAR', name: 'VARCHAR', properties: ${rest ? "'JSON'" : "'STRUCT(product_id VARCHAR, category VARCHAR, revenue DOUBLE)'"},
      context: 'STRUCT(channel VARCHAR, device STRUCT("type" VARCHAR), "location" STRUCT(country VARCHAR), campaign STRUCT("name" VARCHAR))',
      timestamp: 'TIMESTAMP'}`;
    const select = (rest) => `INSERT INTO ingest SELECT messageId, anonymousId, userId, type, event, name,
      ${rest ? "properties->>'product_id', properties->>'category', (properties->>'revenue')::DOUBLE"
    : 'properties.product_id, properties.category, properties.revenue'},
      context.channel, context.device.type, context.location.country, context.campaign.name, timestamp,
      ${rest ? 'properties' : "''"} FROM read_json('${file}', format = 'newline_delimited', columns = ${columns(rest)})`;
    return {
      setup: ['DROP TABLE IF EXISTS ingest', `CREATE TABLE ingest (message_id VARCHAR, anonymous_id VARCHAR,
        user_id VARCHAR, type VARCHAR, event VARCHAR, name VARCHAR, product VARCHAR, category VARCHAR,
        revenue DOUBLE, channel VARCHAR, device VARCHAR, country VARCHAR, campaign VARCHAR, ts TIMESTAMP,
        rest VARCHAR)`],
      forms: { 'read_json, columns only': select(false), 'read_json, properties kept as text': select(true) },
      check: `SELECT count(*), round(sum(revenue) * 100)::BIGINT,
        count(DISTINCT coalesce(product, '')) FROM ingest`,
    };
  }
}
