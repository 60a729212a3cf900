/* An answer as CSV, with the cells that the server writes (src/base/csv.h): quoted where RFC 4180 asks
   for it, and a ' before texts that a spreadsheet would run. */
import type { Answer, Cell } from './api/query';

const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

export function csvText(text: string): string {
  const safe = FORMULA.test(text) && text.length > 1 && !NUMBER.test(text) ? `'${text}` : text;
  return text === '' || /[",\r\n]|^ | $/.test(text) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const cell = (value: Cell): string => (value === null ? '' : typeof value === 'string' ? csvText(value) : String(value));

export function asCsv(answer: Answer): string {
  const lines = [answer.columns.map((column) => csvText(column.name)), ...answer.rows.map((row) => row.map(cell))];
  return lines.map((line) => `${line.join(',')}\r\n`).join('');
}
