import { describeSpliceRelay } from '../testing/relay-cases.js';

describeSpliceRelay('splice', { after_bytes: 100_000, threads: 2 });
