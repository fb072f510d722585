import { addressOf } from '../api/client.js';
import type { Params } from '../api/client.js';
import { mayExport } from '../state/me.js';
import { t } from '../text/text.js';

const FORMATS = ['csv', 'ndjson', 'parquet'] as const;

/** Links to the whole answer as files, not only to its shown rows; none for a key that may not export. */
export function Exports({ path, asked }: { readonly path: string; readonly asked: Params }) {
  if (!mayExport.value) return null;
  return (
    <>
      {FORMATS.map((format) => (
        <a
          key={format}
          class="button"
          download
          href={addressOf(path, [...asked, ['format', format]])}
        >
          {t.value.list.export(format === 'parquet' ? 'Parquet' : format.toUpperCase())}
        </a>
      ))}
    </>
  );
}
