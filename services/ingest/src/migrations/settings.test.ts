import { describe, expect, it } from 'vitest';
import { settingsClause } from './settings.js';

const ENGINE =
  "ReplacingMergeTree(version) ORDER BY a SETTINGS index_granularity = 1024, auto_statistics_types = '', merge_selector_base = 10";

describe('the settings of a table', () => {
  it('change only if they differ', () => {
    expect(
      settingsClause({ merge_selector_base: 10, auto_statistics_types: '' }, ENGINE),
    ).toBeNull();
    expect(settingsClause({ merge_selector_base: 1, auto_statistics_types: 'a' }, ENGINE)).toBe(
      "MODIFY SETTING merge_selector_base = 1, auto_statistics_types = 'a'",
    );
    expect(settingsClause({ granularity: 1024 }, ENGINE)).toBe('MODIFY SETTING granularity = 1024');
    expect(settingsClause({ granularity: 1024 }, 'MergeTree ORDER BY a')).not.toBeNull();
  });
});
