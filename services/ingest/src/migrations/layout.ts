import { quoteIdentifier } from '@sockscope/runtime/clickhouse';
import { MigrationError } from './errors.js';

/** The layout of the tables: on one node, or spread over the shards of a cluster. */
export type Layout =
  | { readonly kind: 'single'; readonly database: string }
  | {
      readonly kind: 'cluster';
      readonly database: string;
      readonly cluster: string;
      readonly replicated: boolean;
      /** Whether the statements go to every node by ON CLUSTER. */
      readonly onCluster: boolean;
    };

const TABLE_STATEMENT = /^((?:CREATE TABLE IF NOT EXISTS|CREATE OR REPLACE TABLE|ALTER TABLE) \S+)/;
const PLACEHOLDER = /\$\{([a-z]+):([^}]*)\}/g;

/** The part of a table's name that marks the rows of one shard, behind the Distributed table of the plain name. */
const LOCAL_SUFFIX = '_local';

/**
 * The name under which a table stores its rows on a node. All others read and write
 * the plain name; in a cluster it is the Distributed table.
 */
export function storageName(layout: Layout, table: string): string {
  return layout.kind === 'single' ? table : table + LOCAL_SUFFIX;
}

/** `` `database`.`table` `` of the rows of this node. */
export function storageTable(layout: Layout, table: string): string {
  return `${quoteIdentifier(layout.database)}.${quoteIdentifier(storageName(layout, table))}`;
}

/** ` ON CLUSTER …` if the layout wants it, else nothing. */
export function onCluster(layout: Layout): string {
  // The name was checked by the configuration's schema: letters, digits, - and _.
  return layout.kind === 'cluster' && layout.onCluster ? ` ON CLUSTER '${layout.cluster}'` : '';
}

/**
 * Returns a statement of a migration file for a layout, or null if the layout does not need it.
 *
 * - `${table:NAME}`: the table that stores the rows.
 * - `${rows:NAME}`, in an INSERT … SELECT over tables that are there: all rows of a table, wherever the
 *   statement reaches them. By ON CLUSTER `migrate` runs once and means the Distributed table; run against
 *   each node it means the rows of that node.
 * - `${engine:ENGINE(args)}`: the engine, Replicated in a layout with replicas.
 * - `${distributed:NAME:EXPRESSION}`, alone in its statement: the Distributed table over the shards,
 *   which sends a row to the shard that the expression names.
 * - `CREATE OR REPLACE TABLE`: not for replicated tables.
 * - `${facade:NAME CHANGE}`, alone in its statement: the same change of that Distributed table.
 *
 * Rows with the same key must meet on one shard, or neither replacing nor FINAL would see both.
 */
export function renderStatement(template: string, layout: Layout): string | null {
  const distributed = /^\$\{distributed:([a-z0-9_]+):(.+)\}$/.exec(template);
  if (distributed !== null) {
    const [, table = '', expression = ''] = distributed;
    return renderDistributed(layout, table, expression);
  }
  const facade = /^\$\{facade:([a-z0-9_]+) (.+)\}$/.exec(template);
  if (facade !== null) {
    if (layout.kind === 'single') return null;
    const [, table = '', change = ''] = facade;
    return `ALTER TABLE ${facadeTable(layout, table)}${onCluster(layout)} ${change}`;
  }
  // The old and the new table would have the same path in Keeper: a replicated layout keeps the old one.
  if (template.startsWith('CREATE OR REPLACE') && layout.kind === 'cluster' && layout.replicated) {
    return null;
  }
  const text = template.replace(PLACEHOLDER, (_, kind: string, value: string) => {
    switch (kind) {
      case 'table':
        return storageTable(layout, value);
      case 'rows':
        return layout.kind === 'cluster' && layout.onCluster
          ? facadeTable(layout, value)
          : storageTable(layout, value);
      case 'engine':
        return renderEngine(layout, value);
      default:
        throw new MigrationError('migration_invalid', `unknown placeholder in: ${template}`);
    }
  });
  return text.replace(TABLE_STATEMENT, `$1${onCluster(layout)}`);
}

/** The plain name, of the Distributed table in a cluster. */
function facadeTable({ database }: Layout, table: string): string {
  return `${quoteIdentifier(database)}.${quoteIdentifier(table)}`;
}

function renderDistributed(layout: Layout, table: string, expression: string): string | null {
  if (layout.kind === 'single') return null;
  const engine = `Distributed('${layout.cluster}', '${layout.database}', '${storageName(layout, table)}', ${expression})`;
  return `CREATE TABLE IF NOT EXISTS ${facadeTable(layout, table)}${onCluster(layout)} AS ${storageTable(layout, table)} ENGINE = ${engine}`;
}

function renderEngine(layout: Layout, engine: string): string {
  const match = /^([A-Za-z]*MergeTree)(?:\((.*)\))?$/.exec(engine);
  if (match === null) throw new MigrationError('migration_invalid', `unknown engine ${engine}`);
  const [, name = '', args = ''] = match;
  if (layout.kind === 'single' || !layout.replicated)
    return args === '' ? name : `${name}(${args})`;
  const path = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";
  return `Replicated${name}(${args === '' ? path : `${path}, ${args}`})`;
}
