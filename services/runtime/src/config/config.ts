import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { messageOf, SockscopeError } from '../errors.js';
import { readSecretFile } from './secret-file.js';
import { inUnits } from './values.js';

/**
 * The declaration of a leaf of a configuration schema by `.meta(...)`, which must be the
 * last call on it: zod keeps it per instance.
 */
export interface SettingMeta {
  /** Environment variable; it wins over the file. */
  readonly env: string;
  readonly description: string;
  /** Shown as `***`. */
  readonly secret?: boolean;
}

/** One wrong setting. `where` is the environment variable or the path in the file. */
export interface ConfigProblem {
  readonly where: string;
  readonly message: string;
}

/** Ends the start. Its message lists every problem, one a line. */
export class ConfigError extends SockscopeError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const lines = problems.map((problem) => `  ${problem.where}: ${problem.message}`);
    super('config_invalid', `The configuration is wrong:\n${lines.join('\n')}`);
    this.problems = problems;
  }
}

interface Leaf {
  readonly path: readonly string[];
  readonly schema: z.ZodType;
  readonly meta: SettingMeta;
}

/** YAML file of a service, next to its environment variables. */
export const CONFIG_FILE_ENV = 'SOCKSCOPE_CONFIG';
const CONFIG_FILE_LIMIT_BYTES = 1024 * 1024;

function leavesOf(schema: z.ZodObject, path: readonly string[] = []): Leaf[] {
  return Object.entries(schema.shape).flatMap(([key, child]) => {
    const here = [...path, key];
    if (child instanceof z.ZodObject) return leavesOf(child, here);
    const type = child as z.ZodType;
    const meta = type.meta() as Partial<SettingMeta> | undefined;
    if (meta?.env === undefined || meta.description === undefined) {
      throw new TypeError(`setting ${here.join('.')} lacks .meta({ env, description })`);
    }
    return [
      { path: here, schema: type, meta: { ...meta, env: meta.env, description: meta.description } },
    ];
  });
}

function readConfigFile(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ConfigError([{ where: file, message: `cannot be read: ${messageOf(cause)}` }]);
  }
  if (text.length > CONFIG_FILE_LIMIT_BYTES) {
    throw new ConfigError([{ where: file, message: 'is larger than 1 MiB' }]);
  }
  const document = parseDocument(text, { prettyErrors: true });
  if (document.errors.length > 0) {
    throw new ConfigError(document.errors.map((e) => ({ where: file, message: e.message })));
  }
  const value: unknown = document.toJS({ maxAliasCount: 0 }) ?? {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError([{ where: file, message: 'must be a map of settings' }]);
  }
  return value as Record<string, unknown>;
}

/** Takes the leaf's value out of the tree, so that only unknown settings remain at the end. */
function takePath(tree: Record<string, unknown>, path: readonly string[]): unknown {
  let node: Record<string, unknown> = tree;
  for (const key of path.slice(0, -1)) {
    const next = node[key];
    if (typeof next !== 'object' || next === null || Array.isArray(next)) return undefined;
    node = next as Record<string, unknown>;
  }
  const last = path.at(-1) ?? '';
  const value = Object.hasOwn(node, last) ? node[last] : undefined;
  delete node[last];
  return value;
}

function remainingPaths(tree: Record<string, unknown>, prefix: string): string[] {
  return Object.entries(tree).flatMap(([key, value]) => {
    const isGroup = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isGroup
      ? remainingPaths(value as Record<string, unknown>, `${prefix}${key}.`)
      : [`${prefix}${key}`];
  });
}

function setPath(tree: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let node = tree;
  for (const key of path.slice(0, -1)) {
    node[key] ??= {};
    node = node[key] as Record<string, unknown>;
  }
  node[path.at(-1) ?? ''] = value;
}

/**
 * Reads a service's configuration once: the YAML file (`SOCKSCOPE_CONFIG`, if given), then
 * environment variables over it, then defaults. An empty variable counts as not set.
 *
 * @throws ConfigError with every problem, unknown settings of the file among them.
 */
export function loadConfig<S extends z.ZodObject>(
  schema: S,
  env: Readonly<Record<string, string | undefined>>,
): z.infer<S> {
  const file = env[CONFIG_FILE_ENV];
  const tree = file === undefined || file === '' ? {} : readConfigFile(file);
  const problems: ConfigProblem[] = [];
  const given: Record<string, unknown> = {};
  const leaves = leavesOf(schema);
  const names = new Set(leaves.map(({ meta }) => meta.env));
  for (const leaf of leaves) {
    const fromFile = takePath(tree, leaf.path);
    let fromEnv = env[leaf.meta.env];
    // A secret that has no setting of its own for that is read once, at the start.
    const secretFile = env[`${leaf.meta.env}_FILE`] ?? '';
    if (leaf.meta.secret === true && secretFile !== '' && !names.has(`${leaf.meta.env}_FILE`)) {
      try {
        fromEnv = readSecretFile(secretFile);
      } catch (error) {
        problems.push({ where: `${leaf.meta.env}_FILE`, message: messageOf(error) });
      }
    }
    const isEnv = fromEnv !== undefined && fromEnv !== '';
    const value = isEnv ? fromEnv : (fromFile ?? undefined);
    const parsed = leaf.schema.safeParse(value);
    if (parsed.success) {
      // The raw value: after a transform it would not pass the same schema again.
      setPath(given, leaf.path, value);
      continue;
    }
    const where = isEnv ? leaf.meta.env : `${leaf.path.join('.')} (${leaf.meta.env})`;
    problems.push({ where, message: parsed.error.issues.map((i) => i.message).join('; ') });
  }
  for (const path of remainingPaths(tree, '')) {
    problems.push({ where: path, message: `is not a setting (in ${file})` });
  }
  if (problems.length > 0) throw new ConfigError(problems);
  // A rule between settings stands on the object itself, as a refinement.
  const whole = schema.safeParse(given);
  if (!whole.success) {
    throw new ConfigError(
      whole.error.issues.map((i) => ({ where: i.path.join('.'), message: i.message })),
    );
  }
  return whole.data;
}

/** The effective configuration for `--check-config`: secrets that are set are shown as `***`. */
export function effectiveConfig(schema: z.ZodObject, config: object): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  const tree = structuredClone(config) as Record<string, unknown>;
  for (const leaf of leavesOf(schema)) {
    const value = takePath(tree, leaf.path);
    if (value === undefined) continue;
    setPath(shown, leaf.path, leaf.meta.secret === true && value !== '' ? '***' : value);
  }
  return shown;
}

/** A row of the generated reference. Defaults that are durations or sizes have a unit. */
export interface SettingReference {
  readonly path: string;
  readonly env: string;
  readonly default: string;
  readonly description: string;
}

/** Every setting of a schema, in its order. */
export function settingReferences(schema: z.ZodObject): SettingReference[] {
  return leavesOf(schema).map((leaf) => {
    const parsed = leaf.schema.safeParse(undefined);
    const value = parsed.success ? parsed.data : undefined;
    return {
      path: leaf.path.join('.'),
      env: leaf.meta.env,
      default:
        value === undefined || value === ''
          ? ''
          : typeof value === 'string'
            ? value
            : (inUnits(value, leaf.schema) ?? JSON.stringify(value)),
      description: leaf.meta.description,
    };
  });
}
