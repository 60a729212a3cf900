/* What a KPI is, in words and links, and who changed what. */
import { putKpi, type Definition, type Edit, type Kpi } from '../../api/kpis';
import { may } from '../../api/session';
import { moment } from '../../format';
import { href } from '../../router';
import { t } from '../../texts';
import { Copy } from '../../ui/copy';
import { Card } from '../../ui/parts';
import { Table } from '../../ui/table';
import { failed, say } from '../../ui/toast';
import { definitionOf } from './edit';

const SIGNS = { sum: ' + ', product: ' × ', ratio: ' ÷ ' } as const;

function Formula({ kpi, all }: { kpi: Kpi; all: Kpi[] }) {
  if (kpi.form === 'query') return null;
  const { form } = kpi;
  return (
    <p class="kpi-formula">
      {kpi.name} ={' '}
      {(kpi[form] ?? []).map((part, i) => {
        const minus = part.startsWith('-');
        const id = minus ? part.slice(1) : part;
        return (
          <>
            {minus ? (i ? ' − ' : '−') : i ? SIGNS[form] : ''}
            <a href={href('kpis', [id])}>{all.find((one) => one.id === id)?.name ?? id}</a>
          </>
        );
      })}
    </p>
  );
}

export function DefinitionCard({ kpi, all }: { kpi: Kpi; all: Kpi[] }) {
  const words = t.kpis.definition;
  const said: [string, string][] = [
    [t.kpis.ownerMarketing, kpi.owner_marketing ?? t.kpis.noOwner],
    [t.kpis.ownerIt, kpi.owner_it ?? t.kpis.noOwner],
    [words.unit, words.units[kpi.unit ?? 'count'] + (kpi.unit === 'money' && kpi.currency ? `, ${kpi.currency}` : '')],
    [words.direction, words.directions[kpi.direction ?? 'up']],
    [words.grain, t.kpis.series.grains[kpi.grain ?? 'day']],
  ];
  return (
    <Card
      title={words.title}
      actions={
        kpi.query && may('query') ? (
          <a class="button small" href={href('explore', [], { q: kpi.query })}>
            {words.open}
          </a>
        ) : undefined
      }
    >
      <div class="stack">
        {kpi.query && (
          <div class="kpi-query">
            <pre class="code wrap">{kpi.query}</pre>
            <Copy text={kpi.query} />
          </div>
        )}
        <Formula kpi={kpi} all={all} />
        <dl class="kpi-said">
          {said.map(([what, value]) => (
            <div key={what}>
              <dt>{what}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </div>
    </Card>
  );
}

/* The members that differ from the version before. */
function changes(edit: Edit, older: Edit | undefined): string {
  const words = t.kpis.definition;
  if (!edit.definition) return words.gone;
  if (!older) return words.first;
  if (!older.definition) return words.again;
  const now = edit.definition as Record<string, unknown>;
  const then = older.definition as Record<string, unknown>;
  const names = [...new Set([...Object.keys(now), ...Object.keys(then)])].filter((name) => JSON.stringify(now[name]) !== JSON.stringify(then[name]));
  return [...new Set(names.map((name) => words.members[name] ?? name))].join(', ');
}

export function VersionsCard({ kpi, changed }: { kpi: Kpi & { edits: Edit[] }; changed: () => void }) {
  const words = t.kpis.definition;
  const edits = [...kpi.edits].sort((a, b) => b.version - a.version);
  const put = (to: Definition, version?: number): Promise<unknown> => {
    const was = definitionOf(kpi);
    return putKpi(kpi.id, to, version)
      .then((saved) => {
        say(t.kpis.saved(saved.name, saved.version), { undo: () => void putKpi(kpi.id, was, saved.version).then(changed).catch(failed) });
        changed();
      })
      .catch(failed);
  };
  return (
    <Card title={words.versions} flush>
      <Table
        caption={words.versions}
        rows={edits}
        rowKey={(row) => row.version}
        columns={[
          { title: words.version, cell: (row) => String(row.version) },
          { title: words.at, brief: true, cell: (row) => moment(row.at) },
          { title: words.who, cell: (row) => row.who },
          { title: words.what, cell: (row) => changes(row, edits[edits.indexOf(row) + 1]) },
          {
            title: '',
            cell: (row) => {
              const { definition } = row;
              if (!definition || row.version === kpi.version || !may('kpi.write')) return null;
              return (
                <button type="button" class="button small" onClick={() => void put(definition, kpi.version)}>
                  {words.putBack}
                </button>
              );
            },
          },
        ]}
      />
    </Card>
  );
}
