import type { Place } from '../../router';
import { t } from '../../texts';
import { PageHead } from '../../ui/parts';

export default function Today(_: { place: Place }) {
  return <PageHead title={t.today.title} />;
}
