import { parseAclFile } from '@sockscope/proxy/acl/file';
import { expect, test } from 'vitest';
import { readText } from './repository.js';

const GUIDE = 'docs/05-users-and-rules.md';

test('the ACL of the guide and the one of npm start are valid', () => {
  const [, example = ''] = /```yaml\n([\s\S]*?)```/.exec(readText(GUIDE)) ?? [];
  expect(parseAclFile(GUIDE, example).rules).toHaveLength(4);
  expect(parseAclFile('acl.yaml', readText('infra/local/acl.yaml')).default).toBe('allow');
});
