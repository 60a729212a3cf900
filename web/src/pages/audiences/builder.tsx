/* Conditions as fields. It edits the JSON form; whatever it cannot show stays as it is. */
import { useAsk } from '../../api/ask';
import type { Property, Schema } from '../../api/company';
import { conditionOf, parse } from '../../api/query';
import type { Segment } from '../../api/segments';
import { t } from '../../texts';
import { Icon } from '../../ui/icons';
import { Badge } from '../../ui/parts';
import { AGGREGATES, filtersOf, fresh, grouped, groupOf, kindOf, typed, withFilters, type Cond, type Did, type EventPart, type Kind, type Measured, type Sequence, type Test } from './tree';

export interface Known {
  schema: Schema;
  segments: Segment[];
}

interface Part<T> {
  value: T;
  known: Known;
  onChange: (value: T) => void;
}

const OPS = ['=', '!=', '<', '<=', '>', '>=', 'contains', 'starts with', 'exists', 'is missing'];
const KINDS: Exclude<Kind, 'group' | 'written'>[] = ['did', 'didNot', 'then', 'notThen', 'measure', 'trait', 'identified', 'anonymous', 'segment'];

function Choice({ label, value, all, onChange }: { label: string; value: string; all: string[]; onChange: (value: string) => void }) {
  const shown = all.includes(value) ? all : [value, ...all];
  return (
    <select class="input" aria-label={label} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
      {shown.map((one) => (
        <option key={one} value={one}>
          {one || t.audiences.choose}
        </option>
      ))}
    </select>
  );
}

function TestFields({ value, properties, name, onChange }: { value: Test; properties: Property[]; name: 'property' | 'trait'; onChange: (value: Test) => void }) {
  const bare = value.op === 'exists' || value.op === 'is missing';
  const type = properties.find((property) => property.name === value[name])?.type;
  const change = (to: Partial<Test>) => {
    const next = { ...value, ...to };
    if (next.op === 'exists' || next.op === 'is missing') delete next.value;
    else next.value ??= type === 'number' ? 0 : '';
    onChange(next);
  };
  return (
    <>
      <Choice label={name} value={value[name] ?? ''} all={[...new Set(properties.map((property) => property.name))]} onChange={(to) => change({ [name]: to })} />
      <select class="input" aria-label={t.audiences.condition} value={value.op} onChange={(event) => change({ op: event.currentTarget.value })}>
        {[...new Set([value.op, ...OPS])].map((op) => (
          <option key={op} value={op}>
            {t.audiences.ops[op] ?? op}
          </option>
        ))}
      </select>
      {!bare && (
        <input class="input" aria-label={t.audiences.value} placeholder={t.audiences.value} value={String(value.value ?? '')} onInput={(event) => change({ value: typed(event.currentTarget.value, type) })} />
      )}
    </>
  );
}

function EventChoice({ value, known, onChange }: Part<EventPart>) {
  if (value.type !== 'track') return <Badge><span class="clip">{value.name ? `${value.type} ${value.name}` : value.type}</span></Badge>;
  const names = known.schema.events.filter((one) => one.type === 'track').map((one) => one.name);
  return <Choice label={t.explore.event} value={value.name ?? ''} all={names} onChange={(name) => onChange({ type: 'track', name })} />;
}

function SequenceFields({ value, known, onChange }: Part<Sequence>) {
  const how = value.followed_by ? 'followed_by' : 'not_followed_by';
  const set = (to: Partial<Sequence>) => {
    const next = { ...value, ...to };
    if (!next.within) delete next.within;
    if (!next.range) delete next.range;
    onChange(next);
  };
  return (
    <>
      <EventChoice value={value.did} known={known} onChange={(did) => set({ did })} />
      <span class="muted">{value.followed_by ? t.audiences.andThen : t.audiences.andNotThen}</span>
      <EventChoice value={value[how] as EventPart} known={known} onChange={(event) => set({ [how]: event })} />
      <Days label={t.audiences.within} none={t.audiences.anyTime} value={value.within?.n} onChange={(n) => set({ within: n === undefined ? undefined : { n, unit: 'day' } } as Partial<Sequence>)} />
      <Range range={value.range} onChange={(range) => set({ range } as Partial<Sequence>)} />
    </>
  );
}

function DidFields({ value, known, onChange, counted }: Part<Did> & { counted: boolean }) {
  const event = value.did;
  const tracked = known.schema.events.filter((one) => one.type === 'track');
  const properties = [...(tracked.find((one) => one.name === event.name)?.properties ?? []), ...known.schema.context];
  const filters = filtersOf(event) ?? [];
  const setEvent = (to: EventPart) => onChange({ ...value, did: to });
  const setFilters = (to: Test[]) => setEvent(withFilters(event, to));
  const setDays = (range: Did['range']) => {
    const { range: _, ...rest } = value;
    onChange((range ? { ...rest, range } : rest) as Did);
  };
  const setMin = (to: string) => {
    const { min: _, ...rest } = value;
    onChange((Number(to) > 1 ? { ...rest, min: Math.round(Number(to)) } : rest) as Did);
  };
  return (
    <>
      <EventChoice value={event} known={known} onChange={setEvent} />
      {counted && (
        <label class="row">
          <span class="muted">{t.audiences.atLeast}</span>
          <input class="input narrow" type="number" min="1" value={value.min ?? 1} onInput={(e) => setMin(e.currentTarget.value)} />
          <span class="muted">{t.audiences.times}</span>
        </label>
      )}
      <Range range={value.range} onChange={setDays} />
      {filters.map((filter, i) => (
        <span key={i} class="row filter">
          <span class="muted">{t.audiences.where}</span>
          <TestFields value={filter} properties={properties} name="property" onChange={(to) => setFilters(filters.map((one, k) => (k === i ? to : one)))} />
          <button type="button" class="button plain icon small" aria-label={t.audiences.removeIt} onClick={() => setFilters(filters.filter((_, k) => k !== i))}>
            <Icon name="close" size={14} />
          </button>
        </span>
      ))}
      <button type="button" class="button plain small" onClick={() => setFilters([...filters, { property: properties[0]?.name ?? '', op: 'exists' }])}>
        <Icon name="plus" size={14} />
        {t.audiences.addFilter}
      </button>
    </>
  );
}

interface DaysProps {
  label: string;
  none: string; // what it means to say nothing
  value: number | undefined;
  onChange: (days: number | undefined) => void;
}

function Days({ label, none, value, onChange }: DaysProps) {
  const read = (text: string): number | undefined => (Number(text) > 0 ? Math.round(Number(text)) : undefined);
  return (
    <label class="row">
      <span class="muted">{label}</span>
      <input class="input narrow" type="number" min="0" placeholder={none} value={value ?? ''} onInput={(event) => onChange(read(event.currentTarget.value))} />
      <span class="muted">{t.audiences.days}</span>
    </label>
  );
}

interface RangeProps {
  range: { last: number; unit: string } | undefined;
  onChange: (range: { last: number; unit: string } | undefined) => void;
}

const Range = ({ range, onChange }: RangeProps) => <Days label={t.audiences.during} none={t.audiences.ever} value={range?.last} onChange={(last) => onChange(last === undefined ? undefined : { last, unit: 'day' })} />;

function MeasureFields({ value, known, onChange }: Part<Measured>) {
  const { measure } = value;
  const tracked = known.schema.events.filter((one) => one.type === 'track');
  const properties = [...new Set((tracked.find((one) => one.name === measure.event.name)?.properties ?? []).map((property) => property.name))];
  const set = (to: Partial<Measured['measure']>) => {
    const next = { ...measure, ...to };
    if (next.aggregate === 'count') delete next.property;
    else next.property ??= properties[0] ?? '';
    if (!next.range) delete next.range;
    onChange({ ...value, measure: next });
  };
  return (
    <>
      <select class="input" aria-label={t.audiences.aggregate} value={measure.aggregate} onChange={(event) => set({ aggregate: event.currentTarget.value })}>
        {AGGREGATES.map((one) => (
          <option key={one} value={one}>
            {t.audiences.aggregates[one] ?? one}
          </option>
        ))}
      </select>
      <Choice label={t.explore.event} value={measure.event.name ?? ''} all={tracked.map((one) => one.name)} onChange={(name) => set({ event: { type: 'track', name } })} />
      {measure.aggregate !== 'count' && <Choice label="property" value={measure.property ?? ''} all={properties} onChange={(property) => set({ property })} />}
      <select class="input" aria-label={t.audiences.condition} value={value.op} onChange={(event) => onChange({ ...value, op: event.currentTarget.value })}>
        {OPS.slice(0, 6).map((op) => (
          <option key={op} value={op}>
            {t.audiences.ops[op]}
          </option>
        ))}
      </select>
      <input class="input narrow" type="number" step="any" aria-label={t.audiences.value} value={value.value} onInput={(event) => onChange({ ...value, value: Number(event.currentTarget.value) })} />
      <Range range={measure.range} onChange={(range) => set({ range })} />
    </>
  );
}

/* What has no fields here is shown as the language says it. */
function Written({ value }: { value: Cond }) {
  const said = useAsk(JSON.stringify(value), (signal) => parse({ form: 'count', where: value }, signal));
  return (
    <>
      <Badge>{t.audiences.written}</Badge>
      <code>{(said.data && conditionOf(said.data.text)) ?? JSON.stringify(value)}</code>
    </>
  );
}

function One({ value, known, onChange }: Part<Cond>) {
  const kind = kindOf(value);
  const first = known.schema.events.find((event) => event.type === 'track')?.name ?? '';
  const turn = (to: Kind) => onChange(fresh(to, first, known.schema.traits[0]?.name ?? '', known.segments[0]?.name ?? ''));
  if (kind === 'written') return <Written value={value} />;
  return (
    <>
      <select class="input kind" aria-label={t.audiences.condition} value={kind} onChange={(event) => turn(event.currentTarget.value as Kind)}>
        {KINDS.map((one) => (
          <option key={one} value={one}>
            {t.audiences.kinds[one]}
          </option>
        ))}
      </select>
      {kind === 'did' && <DidFields value={value as Did} known={known} onChange={onChange} counted />}
      {kind === 'didNot' && <DidFields value={value['not'] as Did} known={known} onChange={(to) => onChange({ not: to })} counted={false} />}
      {(kind === 'then' || kind === 'notThen') && <SequenceFields value={value as Sequence} known={known} onChange={onChange} />}
      {kind === 'measure' && <MeasureFields value={value as Measured} known={known} onChange={onChange} />}
      {kind === 'trait' && <TestFields value={value as unknown as Test} properties={known.schema.traits} name="trait" onChange={(to) => onChange({ ...to })} />}
      {kind === 'segment' && <Choice label={t.audiences.name} value={String(value['segment'])} all={known.segments.map((one) => one.name)} onChange={(segment) => onChange({ segment })} />}
    </>
  );
}

/* A group; null: there is no condition yet. */
export function Builder({ value, known, onChange, depth = 0 }: { value: Cond | null; known: Known; onChange: (value: Cond | null) => void; depth?: number }) {
  const { how, parts } = value ? groupOf(value) : { how: 'and' as const, parts: [] };
  const first = known.schema.events.find((event) => event.type === 'track')?.name ?? '';
  const set = (i: number, to: Cond | null) => onChange(grouped(how, to ? parts.map((part, k) => (k === i ? to : part)) : parts.filter((_, k) => k !== i)));
  return (
    <div class={depth ? 'group inner' : 'group'}>
      <label class="row">
        <span class="muted">{t.audiences.fits}</span>
        <select class="input" value={how} onChange={(event) => onChange(grouped(event.currentTarget.value as 'and' | 'or', parts))} disabled={parts.length < 2}>
          <option value="and">{t.audiences.everyOf}</option>
          <option value="or">{t.audiences.anyOf}</option>
        </select>
      </label>
      {parts.map((part, i) => (
        <div key={i} class="condition">
          <div class="row">
            {kindOf(part) === 'group' ? <Builder value={part} known={known} depth={depth + 1} onChange={(to) => set(i, to)} /> : <One value={part} known={known} onChange={(to) => set(i, to)} />}
          </div>
          <button type="button" class="button plain icon small" aria-label={t.audiences.removeIt} onClick={() => set(i, null)}>
            <Icon name="close" size={16} />
          </button>
        </div>
      ))}
      <div>
        <button type="button" class="button small" onClick={() => onChange(grouped(how, [...parts, fresh('did', first, '', '')]))}>
          <Icon name="plus" size={16} />
          {t.audiences.addCondition}
        </button>
      </div>
    </div>
  );
}
