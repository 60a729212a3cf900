/* What the browser writes as CSV: the same cells as the server (tests/base/test_csv.c). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const web = new URL('../../../web/', import.meta.url);
const { transformSync } = createRequire(new URL('package.json', web))('esbuild');
const code = transformSync(readFileSync(new URL('src/csv.ts', web), 'utf8'), { loader: 'ts', format: 'esm' }).code;
const { asCsv, csvText } = await import(`data:text/javascript,${encodeURIComponent(code)}`);

const CELLS = {
  '': '""', plain: 'plain', ' led': '" led"', 'a,b': '"a,b"', 'say "x"': '"say ""x"""', '=1+1': "'=1+1",
  '="a"': '"\'=""a"""', '+49 30 1234': "'+49 30 1234", '@SUM(A1)': "'@SUM(A1)", '\t=1': "'\t=1", '\r=1': '"\'\r=1"',
  '\n=1': '"\'\n=1"', '＝1': "'＝1", "'=1": "''=1", "''-5": "'''-5", "'tis": "'tis", 'a=1': 'a=1', '-5': '-5',
  '-0.25e-3': '-0.25e-3', '+7': '+7', '-': '-', "'-": "''-", '-5 ': '"\'-5 "', '--5': "'--5", '-5-5': "'-5-5", '-0x10': "'-0x10",
};
for (const [text, cell] of Object.entries(CELLS)) assert.equal(csvText(text), cell, JSON.stringify(text));
assert.equal(
  asCsv({ columns: [{ name: '=x', type: 'string' }, { name: 'n', type: 'number' }], rows: [['=A1', -5.5], [null, 0], ['', true]] }),
  "'=x,n\r\n'=A1,-5.5\r\n,0\r\n\"\",true\r\n",
);
