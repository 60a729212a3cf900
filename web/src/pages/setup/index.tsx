/* Set-up: /setup, /setup/accounts, /setup/keys, /setup/audit, /setup/me. */
import type { ComponentType } from 'preact';
import { may } from '../../api/session';
import { href, type Place } from '../../router';
import { t } from '../../texts';
import { NotYours, PageHead, Tabs } from '../../ui/parts';
import { Accounts } from './accounts';
import { Audit } from './audit';
import { Keys } from './keys';
import { Me } from './me';
import { Overview } from './overview';
import './setup.css';

interface Part {
  name: keyof typeof t.setup.tabs;
  right: string;
  show: ComponentType<{ place: Place }>;
}

const PARTS: Part[] = [
  { name: 'overview', right: '', show: Overview },
  { name: 'accounts', right: 'user.admin', show: Accounts },
  { name: 'keys', right: '', show: Keys },
  { name: 'audit', right: 'audit.read', show: Audit },
  { name: 'me', right: '', show: Me },
];

export default function Setup({ place }: { place: Place }) {
  const part = PARTS.find((one) => one.name === (place.rest[0] ?? 'overview')) ?? PARTS[0]!;
  const Shown = part.show;
  return (
    <>
      <PageHead title={t.setup.title} lead={t.setup.lead} />
      <Tabs
        label={t.setup.title}
        tabs={PARTS.filter((one) => may(one.right)).map((one) => ({
          href: href('setup', one.name === 'overview' ? [] : [one.name]),
          text: t.setup.tabs[one.name],
          current: one === part,
        }))}
      />
      {may(part.right) ? <Shown place={place} /> : <NotYours />}
    </>
  );
}
