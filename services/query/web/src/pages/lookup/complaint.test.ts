import { describe, expect, test } from 'vitest';
import { COMPLAINT_CHARS_MAX, readComplaint } from './complaint.js';

const NOW = Date.parse('2026-03-20T12:00:00Z');
const read = (text: string) => readComplaint(text, NOW);
/** The moment of a time with a zone. */
const momentsOf = (text: string) =>
  read(text).times.map(({ wall, offset }) =>
    offset === null
      ? null
      : new Date(
          Date.UTC(
            wall.year,
            wall.month - 1,
            wall.day,
            wall.hour,
            wall.minute - offset,
            wall.second,
          ),
        ).toISOString(),
  );

describe('the text of a complaint', () => {
  test('a mail in words gives the address it is about, its port, the victim and the time', () => {
    const found = read(
      'Dear team,\nwe saw unauthorised logins from 203.0.113.7:51234 to our server 198.51.100.20 port 22\non 2026-03-05 14:03:20 +0100. Please act.',
    );
    expect(found.addresses).toEqual([
      { ip: '203.0.113.7', port: 51_234, role: 'egress' },
      { ip: '198.51.100.20', port: 22, role: 'dest' },
    ]);
    expect(found.times).toMatchObject([
      { offset: 60, wall: { year: 2026, month: 3, day: 5, hour: 14, minute: 3, second: 20 } },
    ]);
  });

  test('a notice in XML gives the address, the port and the time', () => {
    const found = read(
      '<Source><TimeStamp>2026-03-05T14:03:20.000Z</TimeStamp><IP_Address>203.0.113.7</IP_Address>\n<Port>51234</Port></Source>',
    );
    expect(found.addresses).toEqual([{ ip: '203.0.113.7', port: 51_234, role: 'egress' }]);
    expect(found.times[0]).toMatchObject({ offset: 0, wall: { hour: 14 } });
  });

  test('a line of syslog has neither year nor zone: the last such day is meant, and the zone is asked for', () => {
    const found = read(
      'Dec 24 23:59:59 web sshd[99]: Failed password for root from 203.0.113.7 port 51234 ssh2',
    );
    expect(found.addresses[0]).toEqual({ ip: '203.0.113.7', port: 51_234, role: 'egress' });
    expect(found.times).toMatchObject([{ offset: null, wall: { year: 2025, month: 12, day: 24 } }]);
  });

  test.each([
    ['[05/Mar/2026:14:03:20 +0100]', '2026-03-05T13:03:20.000Z'],
    ['Date: Thu, 05 Mar 2026 14:03:20 +0100', '2026-03-05T13:03:20.000Z'],
    ['Thu, 5 Mar 2026 08:03:20 -0500 (EST)', '2026-03-05T13:03:20.000Z'],
    ['2026-03-05T14:03:20+01:00', '2026-03-05T13:03:20.000Z'],
    ['2026-03-05 14:03:20.123456 UTC', '2026-03-05T14:03:20.000Z'],
    ['2026/03/05 14:03 GMT', '2026-03-05T14:03:00.000Z'],
    ['05.03.2026 14:03:20 CET', '2026-03-05T13:03:20.000Z'],
    ['March 5, 2026 at 2:03:20 PM UTC', '2026-03-05T14:03:20.000Z'],
    ['5 March 2026 12:03 AM UTC', '2026-03-05T00:03:00.000Z'],
    ['2026-03-05 14:03:20 UTC+2', '2026-03-05T12:03:20.000Z'],
    ['2026-03-05 14:03:20 CEST', '2026-03-05T12:03:20.000Z'],
  ])('the time %s is read as one moment', (text, moment) => {
    expect(momentsOf(text)).toEqual([moment]);
  });

  test.each(['2026-03-05 14:03:20', '05.03.2026 14:03', '2026-03-05 14:03:20 CST'])(
    'the time %s has no zone',
    (text) => {
      expect(read(text).times).toMatchObject([{ offset: null }]);
    },
  );

  test.each([
    '2026-02-30 14:03:20Z',
    '03/05/2026 14:03:20',
    '2026-03-05 25:00:00',
    'version 1.2.3',
  ])('nothing is guessed from %s', (text) => {
    expect(read(text).times).toEqual([]);
  });

  test('addresses of version 6 are found with and without a port, and a clock is none', () => {
    const found = read(
      '14:03:20 source [2001:db8::7]:51234, destination 2001:db8:0:0:0:0:0:9 and 1:2:3',
    );
    expect(found.addresses).toEqual([
      { ip: '2001:db8::7', port: 51_234, role: 'egress' },
      { ip: '2001:db8:0:0:0:0:0:9', port: null, role: 'dest' },
    ]);
  });

  test('text that is neither address nor port is left alone', () => {
    expect(read('1.2.3.4.5 256.1.1.1 v10.2.3.4x').addresses).toEqual([]);
    expect(read('source 203.0.113.7:99999').addresses).toEqual([
      { ip: '203.0.113.7', port: null, role: 'egress' },
    ]);
  });

  test('a hostile text of any length does not hold the page up', () => {
    const texts = ['1:', '255.', '<', 'a:', '2026-03-05 ', ' port port', 'from ', '::'].map(
      (part) => part.repeat(COMPLAINT_CHARS_MAX),
    );
    const before = performance.now();
    for (const text of texts) read(text);
    expect(performance.now() - before).toBeLessThan(20_000);
  });
});
