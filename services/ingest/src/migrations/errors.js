import { SockscopeError } from '@sockscope/runtime';
export class MigrationError extends SockscopeError {}
