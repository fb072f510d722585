/**
 * The one place that knows major versions of the contract. Within a version the contract only grows:
 * fields are added that may be missing, and fields that are not known are ignored.
 *
 * When the contract becomes incompatible: raise SCHEMA_VERSION, add the step from the version
 * before to STEPS, and record events of that version beside `vectors/recorded.v1.ndjson`.
 */
import { SCHEMA_VERSION } from './limits.js';

type Json = Readonly<Record<string, unknown>>;

/** A version further ahead than that is a mistake of its sender: no upgrade adds that many. */
const VERSIONS_AHEAD_MAX = 16;

/**
 * The treatment of an event of a version.
 * - `known`: `upcast` brings it into the present form.
 * - `waits`: an upgrade to come can read it, so it must not be given up before.
 * - `poison`: no upgrade will ever read it.
 */
export type VersionClass = 'known' | 'waits' | 'poison';

/** @param version `schema_version` of an event, of any type and value. */
export function classOfVersion(version: unknown): VersionClass {
  if (typeof version !== 'number' || !Number.isInteger(version) || version < 1) return 'poison';
  if (version <= SCHEMA_VERSION) return 'known';
  return version <= SCHEMA_VERSION + VERSIONS_AHEAD_MAX ? 'waits' : 'poison';
}

/** Step `n` turns an event of version `n` into one of version `n + 1`. */
export type UpcastingSteps = Readonly<Record<number, (event: Json) => Json>>;

/** Version 1 is the first one. */
const STEPS: UpcastingSteps = {};

/**
 * Brings an event of a known version into the form of the present one. The result is not validated.
 *
 * @throws RangeError if a step is missing.
 */
export function upcast(event: Json, steps = STEPS, to: number = SCHEMA_VERSION): Json {
  let upcasted = event;
  for (let version = Number(event['schema_version']); version < to; version += 1) {
    const step = steps[version];
    if (step === undefined) throw new RangeError(`no step from version ${version}`);
    upcasted = { ...step(upcasted), schema_version: version + 1 };
  }
  return upcasted;
}
