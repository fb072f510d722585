import { SockscopeError } from '@sockscope/runtime';

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

/** `retryable` where the same call may succeed without anybody changing anything. */
export class LocalError extends SockscopeError {
  declare readonly code: LocalErrorCode;

  constructor(
    code: LocalErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly retryable?: boolean } = {},
  ) {
    super(code, message, options);
  }
}
