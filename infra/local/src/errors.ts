import { SockscopeError } from '@sockscope/runtime';

/** A failure to start something local; the message names the next step. */
export type LocalErrorCode =
  | 'EXITED_EARLY'
  | 'NOT_READY_IN_TIME'
  | 'PORT_TAKEN'
  | 'DISK_FULL'
  | 'BAD_SETTING'
  | 'ALREADY_RUNNING'
  | 'COMMAND_MISSING'
  | 'STEP_FAILED';

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
