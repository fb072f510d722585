import { describeRelay } from '../testing/relay-cases.js';
import { createStreamRelay } from './stream-relay.js';

describeRelay('stream', (limits) => createStreamRelay(limits));
