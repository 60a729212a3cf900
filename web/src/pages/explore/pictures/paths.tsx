/* Paths: events as boxes in columns, runs as bands between them, as wide as they are many. What is
 * rare in its column is one box together. */
import type { Answer, Cell } from '../../../api/query';
import { compact, count } from '../../../format';
import { t } from '../../../texts';

interface Box {
  label: string;
  column: number;
  count: number;
  y: number;
  height: number;
  out: number;
  in: number;
}

interface Band {
  from: Box;
  to: Box;
  count: number;
}

const WIDTH = 1000;
const HEIGHT = 440;
const GAP = 10;
const BOX = 12;
const LABEL = 226; // beside the last boxes
const MOST = 14; // boxes of a column

/* By column: what each event is drawn as. */
function names(answer: Answer, columns: number): Map<string, string>[] {
  return Array.from({ length: columns }, (_, c) => {
    const counts = new Map<string, number>();
    for (const row of answer.rows) counts.set(String(row[c]), (counts.get(String(row[c])) ?? 0) + Number(row[columns]));
    const ranked = [...counts].sort((a, b) => b[1] - a[1]).map(([label]) => label);
    const drawn = ranked.length > MOST ? MOST - 1 : MOST;
    return new Map(ranked.map((label, i) => [label, i < drawn ? label : t.explore.pathsOthers(ranked.length - drawn)]));
  });
}

function layout(answer: Answer): { boxes: Box[]; bands: Band[]; scale: number; columns: number; color: Map<string, number> } {
  const columns = answer.columns.filter((column) => column.name.startsWith('event_')).length;
  const named = names(answer, columns);
  const name = (column: number, row: readonly Cell[]): string => named[column]?.get(String(row[column])) ?? '';
  const boxes = new Map<string, Box>();
  const bands = new Map<string, Band>();
  const totals = new Map<string, number>();
  const box = (column: number, label: string): Box => {
    const key = `${column} ${label}`;
    const found = boxes.get(key) ?? { label, column, count: 0, y: 0, height: 0, out: 0, in: 0 };
    boxes.set(key, found);
    return found;
  };
  for (const row of answer.rows) {
    const runs = Number(row[columns]);
    for (let c = 0; c < columns; c++) {
      const here = box(c, name(c, row));
      here.count += runs;
      if (here.label === row[c]) totals.set(here.label, (totals.get(here.label) ?? 0) + runs);
      if (c === 0) continue;
      const before = box(c - 1, name(c - 1, row));
      const key = `${c} ${before.label} ${here.label}`;
      const band = bands.get(key) ?? { from: before, to: here, count: 0 };
      band.count += runs;
      bands.set(key, band);
    }
  }
  const byColumn = Array.from({ length: columns }, (_, c) => [...boxes.values()].filter((one) => one.column === c).sort((a, b) => b.count - a.count));
  const scale = Math.min(...byColumn.map((list) => (HEIGHT - GAP * (list.length - 1)) / Math.max(1, list.reduce((sum, one) => sum + one.count, 0))));
  for (const list of byColumn) {
    let y = 0;
    for (const one of list) {
      one.y = y;
      one.height = Math.max(1, one.count * scale);
      y += one.height + GAP;
    }
  }
  const ranked = [...totals].sort((a, b) => b[1] - a[1]).map(([label]) => label);
  const color = new Map(ranked.map((label, i) => [label, Math.min(i, 7) + 1]));
  const ordered = [...bands.values()].sort((a, b) => a.from.y - b.from.y || a.to.y - b.to.y);
  return { boxes: [...boxes.values()], bands: ordered, scale, columns, color };
}

export function Paths({ answer }: { answer: Answer }) {
  const { boxes, bands, scale, columns, color } = layout(answer);
  const x = (column: number): number => (columns < 2 ? 0 : (column * (WIDTH - BOX - LABEL)) / (columns - 1));
  const drawn = bands.map((band) => {
    const width = Math.max(0.8, band.count * scale);
    const y1 = band.from.y + band.from.out + width / 2;
    const y2 = band.to.y + band.to.in + width / 2;
    band.from.out += width;
    band.to.in += width;
    const x1 = x(band.from.column) + BOX;
    const x2 = x(band.to.column);
    const middle = (x1 + x2) / 2;
    return { band, width, path: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` };
  });
  return (
    <div class="scroll-x paths" tabIndex={0} role="region" aria-label={t.explore.pathsLabel}>
      <svg viewBox={`-2 -8 ${WIDTH + 4} ${HEIGHT + 16}`} role="img" aria-label={t.explore.pathsLabel}>
        {drawn.map(({ band, width, path }, i) => (
          <path key={i} d={path} class={`band series-${color.get(band.from.label) ?? 8}`} stroke-width={width}>
            <title>{`${band.from.label} → ${band.to.label}: ${count(band.count)}`}</title>
          </path>
        ))}
        {boxes.map((box) => (
          <g key={`${box.column} ${box.label}`}>
            <title>{`${box.label}: ${count(box.count)}`}</title>
            <rect x={x(box.column)} y={box.y} width={BOX} height={box.height} rx="3" class={`series-${color.get(box.label) ?? 8}`} />
            {box.height > 12 && (
              <text x={x(box.column) + BOX + 6} y={box.y + Math.min(box.height / 2, 40) + 4}>
                {box.label.length > 18 ? `${box.label.slice(0, 17)}…` : box.label}
                <tspan class="soft"> {compact(box.count)}</tspan>
              </text>
            )}
          </g>
        ))}
      </svg>
    </div>
  );
}
