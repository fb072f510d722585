import { z } from 'zod';
import { wireTime } from '../events/values.js';
import { annotationExample, annotationsExample } from './examples.js';
import { checkRange, rangeParams, storableText, storableTime, text, whole } from './values.js';

export const ANNOTATION_LIMITS = {
  text_chars: 1_000,
  tags: 10,
  tag_chars: 50,
  /** Annotations that are kept at once. */
  kept: 10_000,
  page_default: 100,
  page_max: 1_000,
} as const;

export const annotationsQuery = z
  .strictObject({
    ...rangeParams,
    tag: text.optional().describe('only annotations with this tag'),
    limit: whole(1, ANNOTATION_LIMITS.page_max).default(ANNOTATION_LIMITS.page_default),
  })
  .superRefine(checkRange);
export type AnnotationsQuery = z.infer<typeof annotationsQuery>;

const tag = storableText.min(1).max(ANNOTATION_LIMITS.tag_chars);

/** Body of `POST /annotations`. */
export const annotationBody = z
  .strictObject({
    starts_at: storableTime.describe('the moment, or the start of a range'),
    ends_at: storableTime
      .nullable()
      .default(null)
      .describe('the end of a range; null for a moment'),
    text: storableText.trim().min(1).max(ANNOTATION_LIMITS.text_chars),
    tags: z.array(tag).max(ANNOTATION_LIMITS.tags).default([]),
  })
  .refine(
    ({ starts_at, ends_at }) => ends_at === null || Date.parse(ends_at) > Date.parse(starts_at),
    { path: ['ends_at'], message: 'must lie after starts_at' },
  );
export type AnnotationBody = z.infer<typeof annotationBody>;

export const annotationParams = z.strictObject({ annotation_id: z.uuid() });

export const annotation = z
  .object({
    annotation_id: z.uuid(),
    starts_at: wireTime,
    ends_at: wireTime.nullable().describe('null for a moment'),
    text: z.string(),
    tags: z.array(z.string()),
    created_at: wireTime,
    created_by: z.string().nullable().describe('principal; null unless you are an administrator'),
  })
  .meta({ id: 'Annotation', examples: [annotationExample] });
export type Annotation = z.infer<typeof annotation>;

/** Notes on moments and ranges of time. */
export const annotations = z
  .object({
    items: z.array(annotation).describe('annotations that touch the range, the earliest first'),
    truncated: z.boolean().describe('there are more annotations in the range than shown'),
  })
  .meta({ id: 'Annotations', examples: [annotationsExample] });
export type Annotations = z.infer<typeof annotations>;
