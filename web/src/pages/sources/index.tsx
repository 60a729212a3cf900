/* Sources: /sources, /sources/tail, /sources/quarantine, /sources/plan. */
import { href, type Place } from '../../router';
import { t } from '../../texts';
import { PageHead, Tabs } from '../../ui/parts';
import { Overview } from './overview';
import { PlanPage } from './plan';
import { Quarantine } from './quarantine';
import './sources.css';
import { Tail } from './tail';

export default function Sources({ place }: { place: Place }) {
  const part = place.rest[0] ?? '';
  const tab = (name: string, text: string) => ({ href: href('sources', name ? [name] : []), text, current: part === name });
  return (
    <>
      <PageHead title={t.sources.title} lead={t.sources.lead} />
      <Tabs
        label={t.sources.label}
        tabs={[tab('', t.sources.tabs.overview), tab('tail', t.sources.tabs.tail), tab('quarantine', t.sources.tabs.quarantine), tab('plan', t.sources.tabs.plan)]}
      />
      {part === 'tail' ? <Tail place={place} /> : part === 'quarantine' ? <Quarantine place={place} /> : part === 'plan' ? <PlanPage /> : <Overview />}
    </>
  );
}
