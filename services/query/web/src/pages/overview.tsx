import { t } from '../text/text.js';

export function Overview() {
  return <h1>{t.value.nav.overview}</h1>;
}
