import { describeSpliceRelay } from '../testing/relay-cases.js';

describeSpliceRelay('splice from the first byte', {});
