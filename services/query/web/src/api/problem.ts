/** The content of an answer that is not 2xx: an RFC 9457 problem document, or that there was no answer. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string | null;
  readonly retryAfterMs: number | null;

  constructor(
    status: number,
    document: { readonly title?: unknown; readonly detail?: unknown },
    headers: Headers = new Headers(),
  ) {
    const title = typeof document.title === 'string' ? document.title : `HTTP ${status}`;
    super(title);
    this.name = 'Problem';
    this.status = status;
    this.title = title;
    this.detail = typeof document.detail === 'string' ? document.detail : '';
    this.requestId = headers.get('x-request-id');
    const seconds = Number(headers.get('retry-after') ?? Number.NaN);
    this.retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : null;
  }

  /** Whether the same question may be answered later. */
  get mayPass(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** Refused for now, with the time at which to ask again: no failure, the page asks by itself. */
  get isBusy(): boolean {
    return this.retryAfterMs !== null && (this.status === 429 || this.status === 503);
  }

  static of(error: unknown): Problem {
    if (error instanceof Problem) return error;
    return new Problem(0, { title: error instanceof Error ? error.message : String(error) });
  }
}
