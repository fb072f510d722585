import type { Explain } from '@sockscope/schemas/api';
import { useAnswer } from '../../api/use-answer.js';
import { showBytes, showChange, showCount } from '../../format/numbers.js';
import { showTime } from '../../format/times.js';
import { Link } from '../../shell/link.js';
import { exactly, filters } from '../../state/filters.js';
import { change, changeRange, hrefOf, params, zone } from '../../state/location.js';
import { language, t } from '../../text/text.js';
import { Panel } from '../../widgets/panel.js';
import { isBytes } from './measures.js';
import type { Measure } from './measures.js';

const ROWS = '5';

/** The causes of a peak, compared with the same time before it. Shown once a part of a chart is chosen. */
export function Explanation({ measure }: { readonly measure: Measure }) {
  const [from, to] = (params.value.get('explain') ?? '').split('/');
  const isAsked = from !== undefined && to !== undefined;
  const answer = useAnswer<Explain>(
    isAsked ? '/explain' : null,
    [
      ...filters.value,
      ['from', from ?? ''],
      ['to', to ?? ''],
      ['time_zone', zone.value],
      ['measure', measure],
      ['limit', ROWS],
    ],
    0,
  );
  if (!isAsked) return null;
  const time = (text: string) => showTime(zone.value, Date.parse(text)).slice(0, 16);
  return (
    <div class="explanation">
      <Panel
        title={t.value.explain.title(t.value.measure[measure], time(from), time(to))}
        {...answer}
        actions={
          <>
            <button
              type="button"
              onClick={() => {
                change({ explain: null }, 'replace');
                changeRange({ kind: 'between', from, to });
              }}
            >
              {t.value.explain.zoom}
            </button>
            <button
              type="button"
              aria-label={t.value.keys.close}
              onClick={() => {
                change({ explain: null });
              }}
            >
              ×
            </button>
          </>
        }
      >
        {(value) => <Parts of={value} measure={measure} />}
      </Panel>
    </div>
  );
}

function Parts({ of: found, measure }: { readonly of: Explain; readonly measure: Measure }) {
  const amount = (value: number): string => {
    const { digits, unit } = isBytes(measure)
      ? showBytes(Math.abs(value), language.value)
      : showCount(Math.abs(value), language.value);
    return `${value < 0 ? '−' : '+'}${digits} ${unit}`.trim();
  };
  return (
    <>
      <p>
        {t.value.explain.change(
          amount(found.change),
          showTime(zone.value, Date.parse(found.previous_range.from)).slice(0, 16),
        )}
        {found.is_defined ? null : <span class="muted"> {t.value.explain.small}</span>}
      </p>
      <div class="parts">
        {found.fields.map(({ field, items }) => (
          <table key={field}>
            <caption>{t.value.field[field]}</caption>
            <tbody>
              {items.map((item) => {
                const key = String(item.value ?? '');
                const kept = filters.value.filter(([name]) => name !== field);
                return (
                  <tr key={key}>
                    <th scope="row">
                      <Link
                        href={hrefOf('/explore', [
                          ...kept,
                          exactly(field, key),
                          ['measure', measure],
                        ])}
                      >
                        <bdi>{key === '' ? '–' : key}</bdi>
                      </Link>
                    </th>
                    <td class="number">{amount(item.change)}</td>
                    <td class="number muted">
                      {item.share === null ? '' : showChange(item.share, language.value)}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        ))}
      </div>
    </>
  );
}
