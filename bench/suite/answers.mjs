// Answers in one form, so that engines can be compared cell by cell.

/** Revenue of Keel is in units, the peers' columns are cents: both are compared as whole cents. */
export const cents = (amount) => Math.round(Number(amount) * 100);

/** windowFunnel counts customers by level; a funnel's row k counts those of level k or more. */
export const fromLevels = (steps) => (rows) => {
  const at = new Array(steps + 2).fill(0);
  for (const [level, n] of rows) at[Number(level)] = Number(n);
  for (let k = steps - 1; k >= 1; k--) at[k] += at[k + 1];
  return Array.from({ length: steps }, (_, i) => [i + 1, at[i + 1]]);
};

const cell = (v) => {
  if (v === null || v === undefined) return null;
  return v !== '' && !Number.isNaN(Number(v)) ? Number(v) : String(v);
};

/** Rows of cells; sorted, unless the order is part of the answer. */
export function normalise(rows, query) {
  const out = rows.map((row) => row.map(cell));
  if (!query.ordered) out.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  return out;
}

const near = (a, b, tolerance) =>
  a === b || (typeof a === 'number' && typeof b === 'number' && tolerance > 0
    && Math.abs(a - b) <= 1 + tolerance * Math.max(Math.abs(a), Math.abs(b)));

/** null if they are equal, else the first difference in words. query.tolerance: by column, relative. */
export function difference(mine, theirs, query) {
  const rows = Math.max(mine.length, theirs.length);
  for (let i = 0; i < rows; i++) {
    const [a, b] = [mine[i], theirs[i]];
    const same = a && b && a.length === b.length
      && a.every((v, c) => near(v, b[c], query.tolerance?.[c] ?? 0));
    if (!same) {
      return `row ${i + 1} of ${mine.length} and ${theirs.length}: ${JSON.stringify(a)} and ${JSON.stringify(b)}`;
    }
  }
  return null;
}
