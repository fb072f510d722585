import { describeSpliceRelay } from '../testing/relay-cases.js';

describeSpliceRelay('splice without pipes', { max_pipes: 0 });
