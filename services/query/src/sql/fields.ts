/** Rows of ClickHouse that are made of the contract's fields. */
import { fieldOf, SESSION_FIELDS, SESSION_STATUSES, TIMELINE_FIELDS } from '@sockscope/schemas';
import type { SessionField, TimelineField } from '@sockscope/schemas';
import type { Session, TimelineEvent } from '@sockscope/schemas/api';
import { plainAddress } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import type { Stored } from './stored.js';

const address = z.string().overwrite(plainAddress);

function columnOf(name: SessionField): z.ZodType {
  const { value } = fieldOf(name);
  switch (value.kind) {
    case 'text':
    case 'uuid':
      return z.string();
    case 'choice':
      return z.enum(name === 'status' ? SESSION_STATUSES : value.values);
    case 'integer':
      return int64;
    case 'time':
      return wireTime;
    case 'address':
      return address;
    case 'flag':
    case 'counters':
      throw new Error(`${name} is not a column of a session`);
  }
}

/** Whether a column of `sessions` may be null. Fields that only SessionClosed has are null before it. */
export function isNullable(name: SessionField): boolean {
  const { part, value } = fieldOf(name);
  return value.nullable === true || (part === 'closing' && name !== 'status');
}

/** The fields that a mask may hide. */
type HiddenField = 'user' | 'source_ip';

/** A row of `sessions`. Little is checked, because the database holds valid values. */
export const sessionRow = z.object(
  Object.fromEntries(
    SESSION_FIELDS.map((name) => [
      name,
      isNullable(name) ? columnOf(name).nullable() : columnOf(name),
    ]),
  ) as unknown as {
    readonly [N in SessionField]: z.ZodType<N extends HiddenField ? Stored : Session[N]>;
  },
);
export type SessionRecord = z.output<typeof sessionRow>;

/** The columns of `session_events` that a timeline shows besides its own. */
export const timelineColumns = Object.fromEntries(
  TIMELINE_FIELDS.map((name) => [name, columnOf(name).nullable()]),
) as unknown as { readonly [N in TimelineField]: z.ZodType<TimelineEvent[N]> };
