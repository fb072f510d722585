import { compileAcl } from '../acl/compile.js';
import { createDecider } from '../acl/decide.js';
import { parseAclFile } from '../acl/file.js';
import type { AclRequest, AclVerdict } from '../acl/acl.js';

/** The real rules of a file that lets everybody reach loopback, except blocked destinations. */
export function loopbackRules(
  blocked: { readonly destinations?: readonly string[]; readonly ports?: readonly number[] } = {
    destinations: ['blocked.invalid'],
  },
): (request: AclRequest) => AclVerdict {
  const policy = {
    default: 'block',
    rules: [
      { name: 'blocked', action: 'block', ...blocked },
      { name: 'loopback', action: 'allow', allow_into: ['loopback'] },
    ],
  };
  // JSON is YAML.
  const acl = createDecider(compileAcl(parseAclFile('acl.yaml', JSON.stringify(policy))), {
    coversIp: () => false,
    coversName: () => false,
    isThisMachine: () => false,
  });
  return (request) => acl.decide(request);
}
