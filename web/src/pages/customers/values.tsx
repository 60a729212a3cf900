/* Values as they came: texts of strangers, so only ever as text. */
import { count, NONE } from '../../format';

const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

export function plain(value: unknown): string {
  if (value === null || value === undefined) return NONE;
  if (typeof value === 'number') return count(value);
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.every((one) => typeof one !== 'object') ? value.join(', ') : `${value.length} ×`;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/* The few properties that say most about an event, in one line. */
export function gist(properties: Record<string, unknown>): [string, string][] {
  const telling = /name|title|query|revenue|total|price|value|category|campaign|path|code|reason|rating|order_id|product_id/i;
  const all = Object.entries(properties).filter(([, value]) => value !== null && value !== '' && !(typeof value === 'string' && DATE.test(value)));
  const best = all.filter(([name]) => telling.test(name));
  return (best.length ? best : all).slice(0, 4).map(([name, value]) => [name, plain(value)]);
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
