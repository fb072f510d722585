import { changeOf, showChange, showExact } from '../format/numbers.js';
import type { Shown } from '../format/numbers.js';
import { language, t } from '../text/text.js';

/** A number for people, with its unit muted and the exact integer on hover. */
export function Figure(props: {
  readonly value: number;
  readonly show: (value: number, locale: string) => Shown;
}) {
  const { digits, unit } = props.show(props.value, language.value);
  return (
    <span class="figure" title={showExact(props.value, language.value)}>
      {digits}
      {unit === '' ? null : <small> {unit}</small>}
    </span>
  );
}

/** The change from the period before. */
export function Change(props: { readonly before: number; readonly now: number }) {
  const change = changeOf(props.before, props.now);
  if (change === null) return null;
  if (change === 'new') return <span class="change">{t.value.change.new}</span>;
  const arrow = change > 0 ? '▲' : change < 0 ? '▼' : '';
  return (
    <span class="change" title={t.value.change.previous}>
      {arrow} {showChange(change, language.value)}
    </span>
  );
}
