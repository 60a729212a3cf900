// The data: simulated once a pass, never on disk as NDJSON but for a sample.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const DAYS = 366;
const START = '2024-01-01'; // a Monday: the peers' week numbers need no calendar
export const FRESH_PERCENT = 5, MERGED_PERCENT = 1;

/** Shell sources of the events, for Keel: all, base, fresh, links. */
export const sources = (simulate, tools, csv) => {
  const rows = (part) => `${simulate} | ${tools.bin}/bench_columns rows ${csv} --fresh ${FRESH_PERCENT} --ndjson ${part}`;
  return { all: rows('all'), base: rows('base'), fresh: rows('fresh'), links: `cat ${join(csv, 'links.ndjson')}` };
};

/** Makes DIR/csv if it is not there yet; {csv, values, sources}. */
export function makeData(place, tools, options) {
  const csv = join(place, 'csv'), made = join(place, 'csv', 'made.json');
  const simulate = `${tools.keel} simulate --clean --quiet --seed ${options.seed} --days ${DAYS} --start ${START} --customers ${options.customers} --events ${options.events}`;
  if (!existsSync(made) || JSON.parse(readFileSync(made, 'utf8')).simulate !== simulate) {
    mkdirSync(csv, { recursive: true });
    const run = (script) => execFileSync('bash', ['-o', 'pipefail', '-c', script], { stdio: 'inherit' });
    run(`${simulate} | ${tools.bin}/bench_columns ids ${csv} --merge ${MERGED_PERCENT}`);
    run(`${simulate} | ${tools.bin}/bench_columns rows ${csv} --fresh ${FRESH_PERCENT} --sample ${options.sample}`);
    writeFileSync(made, JSON.stringify({ simulate }));
  }
  const values = JSON.parse(readFileSync(join(csv, 'values.json'), 'utf8'));
  values.people = readFileSync(join(csv, 'people.csv'), 'utf8').trim().split('\n').map((line) => line.split(','));
  values.start_ts = Date.parse(START) / 1000;
  return { csv, values, simulate, sources: sources(simulate, tools, csv) };
}
