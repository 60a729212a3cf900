/* KPIs: /kpis, /kpis/ID?grain&from&to&as_of. */
import { may } from '../../api/session';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Icon } from '../../ui/icons';
import { PageHead } from '../../ui/parts';
import { Editing } from './edit';
import { KpiPage } from './kpi';
import './kpis.css';
import { List } from './list';
import { Touchpoints } from './touchpoints';

export default function Kpis({ place }: { place: Place }) {
  const adding = place.query.get('new'); // kpi, touchpoint
  const add = (what: string) => go(href('kpis', [], { new: what }), 'replace');
  const id = place.rest[0];
  if (id) return <KpiPage key={id} id={id} place={place} />;
  return (
    <>
      <PageHead title={t.kpis.title} lead={t.kpis.lead}>
        {may('kpi.write') && (
          <button type="button" class="button primary" onClick={() => add('kpi')}>
            <Icon name="plus" size={16} />
            {t.kpis.add}
          </button>
        )}
      </PageHead>
      <List add={() => add('kpi')} />
      <Touchpoints adding={adding === 'touchpoint'} add={() => add('touchpoint')} done={() => add('')} />
      {adding === 'kpi' && <Editing onClose={() => add('')} onSaved={(saved) => go(href('kpis', [saved.id]))} />}
    </>
  );
}
