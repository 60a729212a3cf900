/* Values as they came: texts of strangers, so only ever as text. */
import { count, NONE } from '../../format';
import { t } from '../../texts';

const TELLING = [/name$|title/i, /query|path/i, /revenue|price|value/i, /total|rating/i, /category|campaign/i, /code|reason/i, /_id$/i]; // the most first
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

export function plain(value: unknown): string {
  if (value === null || value === undefined) return NONE;
  if (typeof value === 'number') return count(value);
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.every((one) => typeof one !== 'object') ? value.join(', ') : t.customers.items(value.length);
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/* The few properties that say most about an event, in one line. */
export function gist(properties: Record<string, unknown>): [string, string][] {
  const all = Object.entries(properties).filter(([, value]) => value !== null && value !== '' && !(typeof value === 'string' && DATE.test(value)));
  const rank = (name: string): number => TELLING.findIndex((telling) => telling.test(name));
  const best = all.filter(([name]) => rank(name) >= 0).sort((a, b) => rank(a[0]) - rank(b[0]));
  return (best.length ? best : all).slice(0, 3).map(([name, value]) => [name, plain(value)]);
}

export function Pairs({ of }: { of: Record<string, unknown> }) {
  return (
    <dl class="pairs">
      {Object.entries(of).map(([name, value]) => (
        <>
          <dt>{name}</dt>
          <dd>{Array.isArray(value) && typeof value[0] === 'object' ? <Items items={value as Record<string, unknown>[]} /> : plain(value)}</dd>
        </>
      ))}
    </dl>
  );
}

function Items({ items }: { items: Record<string, unknown>[] }) {
  const names = [...new Set(items.flatMap((item) => Object.keys(item ?? {})))].slice(0, 8);
  return (
    <div class="scroll-x" tabIndex={0}>
      <table class="table small">
        <thead>
          <tr>
            {names.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {items.map((item, i) => (
            <tr key={i}>
              {names.map((name) => (
                <td key={name}>{plain(item?.[name])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
