export { createAcl } from './acl.js';
export type { Acl, AclRequest, AclVerdict, ManagedAcl } from './acl.js';
export { compileAcl } from './compile.js';
export type { CompiledAcl } from './compile.js';
export { explain } from './explain.js';
export { parseAclFile } from './file.js';
