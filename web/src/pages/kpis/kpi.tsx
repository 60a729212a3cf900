/* One KPI: where it stands, its values, what changed it, its definition and versions. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { kpi, kpis, kpiSeries, putKpi, removeKpi, type Edit, type Kpi, type SeriesPoint } from '../../api/kpis';
import { may } from '../../api/session';
import { NONE, plainDay } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Failure, Missing, PageHead, Stat, WaitingCard } from '../../ui/parts';
import { failed, say } from '../../ui/toast';
import { asksPeople, Who } from '../../ui/who';
import { AttributionCard } from './attribution';
import { DefinitionCard, VersionsCard } from './definition';
import { definitionOf, Editing } from './edit';
import { Guardrail, KpiChange, rails } from './parts';
import { SeriesCard } from './series';
import { asOf, before, periodName, told, writer } from './write';


function remove(one: Kpi & { edits: Edit[] }): void {
  const definition = definitionOf(one);
  removeKpi(one.id)
    .then(() => {
      go('/kpis');
      const undo = () => void putKpi(one.id, definition).then(() => go(`/kpis/${one.id}`)).catch(failed);
      say(t.kpis.removed(one.name), { undo });
    })
    .catch(failed);
}

/* Its values first: asking for them brings up to date what is told of it. */
async function whole(id: string, signal: AbortSignal) {
  const series = await kpiSeries(id, {}, signal).catch(() => null);
  return { one: await kpi(id, signal), points: series?.points };
}

/* The value of a leaf opens: customers to who they are, others to their question. */
function Value({ one }: { one: Kpi }) {
  const { latest } = one;
  const text = latest?.hidden ? t.kpis.hidden : told(latest?.value, writer(one));
  if (!latest?.question || !latest.value || !may('query')) return <>{text}</>;
  if (asksPeople(latest.question))
    return (
      <Who answer={{ query: latest.question }} row={[]} at={asOf(latest.question, latest)}>
        {text}
      </Who>
    );
  return (
    <a class="who-link" href={href('explore', [], { q: latest.question })} title={t.kpis.question}>
      {text}
    </a>
  );
}

function Figures({ one, points }: { one: Kpi; points: SeriesPoint[] | undefined }) {
  const write = writer(one);
  const was = before(points, one.latest?.period);
  const running = one.running && !one.running.hidden ? one.running.value : null;
  return (
    <section class="grid stats" aria-label={one.name}>
      <Stat
        what={one.latest ? periodName(one.grain, one.latest.period, plainDay) : t.kpis.value}
        words={!!one.latest?.hidden}
        value={<Value one={one} />}
        note={running === null ? undefined : t.kpis.running(write(running))}
      />
      <Stat what={t.kpis.change} words value={<KpiChange kpi={one} was={was} />} note={was === null ? t.kpis.changeUnknown : t.kpis.against(write(was))} />
      <Stat
        what={t.kpis.target}
        words
        value={one.target ? write(one.target.value) : <span class="muted">{t.kpis.noTarget}</span>}
        note={one.target && [t.kpis.by(plainDay(one.target.by)), typeof one.latest?.target_met === 'boolean' && (one.latest.target_met ? t.kpis.met : t.kpis.notMet)].filter(Boolean).join(', ')}
      />
      <Stat what={t.kpis.guardrail} words value={one.guardrail ? <Guardrail kpi={one} /> : <span class="muted">{t.kpis.rails.none}</span>} note={rails(one) === NONE ? undefined : rails(one)} />
    </section>
  );
}

export function KpiPage({ id, place }: { id: string; place: Place }) {
  const asked = useAsk(`kpi ${id}`, (signal) => whole(id, signal));
  const all = useAsk('names', kpis);
  const [editing, edit] = useState(false);
  const one = asked.data?.one;
  if (asked.problem?.status === 404) return <Missing icon="kpis" page={t.kpis.title} what={t.kpis.noneHere(id)} all={t.kpis.all} href="/kpis" />;
  if (asked.problem) return <Failure problem={asked.problem} again={asked.again} />;
  if (!one) return <><PageHead title={t.kpis.title} /><WaitingCard lines={8} /></>;
  return (
    <>
      <PageHead title={one.name} lead={one.description} back={{ href: '/kpis', text: t.kpis.all }}>
        {may('kpi.write') && (
          <>
            <button type="button" class="button" onClick={() => edit(true)}>
              {t.kpis.edit}
            </button>
            <button type="button" class="button plain danger" onClick={() => remove(one)}>
              {t.kpis.remove}
            </button>
          </>
        )}
      </PageHead>
      <Figures one={one} points={asked.data?.points} />
      <SeriesCard key={one.version} kpi={one} place={place} />
      {one.form !== 'query' && <AttributionCard key={`why ${one.version}`} kpi={one} place={place} />}
      <DefinitionCard kpi={one} all={all.data ?? []} />
      <VersionsCard kpi={one} changed={asked.again} />
      {editing && (
        <Editing
          kpi={one}
          onClose={() => edit(false)}
          onSaved={() => {
            edit(false);
            asked.again();
          }}
        />
      )}
    </>
  );
}
