/** What can go wrong while something local is started; the message says what to do about it. */
export type LocalErrorCode =
  | 'EXITED_EARLY'
  | 'NOT_READY_IN_TIME'
  | 'PORT_TAKEN'
  | 'DISK_FULL'
  | 'BAD_SETTING'
  | 'ALREADY_RUNNING'
  | 'COMMAND_MISSING'
  | 'STEP_FAILED';

export class LocalError extends Error {
  readonly code: LocalErrorCode;
  /** True where the same call may succeed without anybody changing anything. */
  readonly retryable: boolean;

  constructor(
    code: LocalErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly retryable?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'LocalError';
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
