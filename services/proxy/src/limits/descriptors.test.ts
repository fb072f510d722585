import { describe, expect, it } from 'vitest';
import { descriptorLimit, descriptorsForClients } from './descriptors.js';

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max processes             96000                96000                processes
Max open files            20000                524288               files
`;

describe('the limit of descriptors', () => {
  it('is the soft one', () => {
    expect(descriptorLimit(() => LIMITS)).toBe(20_000);
  });

  it.each([
    [
      'no such file',
      () => {
        throw new Error('ENOENT');
      },
    ],
    [
      'unlimited',
      () => 'Max open files            unlimited            unlimited            files\n',
    ],
  ])('is unknown with %s', (_, read) => {
    expect(descriptorLimit(read)).toBeNull();
  });

  it('leaves room for descriptors that are not of clients', () => {
    expect(descriptorsForClients(20_000)).toBe(19_488);
    expect(descriptorsForClients(400)).toBe(200);
  });
});
