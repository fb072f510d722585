import { expect, test } from 'vitest';
import { workFor } from './parts.js';

test('a change in one service builds and restarts only that one', () => {
  expect(workFor(['services/proxy/src/server.ts'])).toEqual({
    builds: [['tsc', '-b', 'services/proxy']],
    services: ['proxy'],
  });
});

test('a change of shared code builds once and restarts all services', () => {
  const files = ['services/runtime/src/errors.ts', 'services/query/src/app.ts'];
  expect(workFor(files)).toEqual({
    builds: [['tsc', '-b', 'services/proxy', 'services/ingest', 'services/query']],
    services: ['proxy', 'ingest', 'query'],
  });
});

test('a change in the dashboard bundles it and restarts the service that serves it', () => {
  const { builds, services } = workFor(['services/query/web/src/app.tsx']);
  expect(builds.map(([program]) => program)).toEqual(['vite']);
  expect(services).toEqual(['query']);
});

test('tests, build results and files of editors change nothing', () => {
  const files = [
    'services/proxy/src/server.test.ts',
    'services/proxy/dist/server.js',
    'services/proxy/src/.server.ts.swp',
    'services/proxy/src/server.ts~',
    'docs/01-first-look.md',
  ];
  expect(workFor(files)).toEqual({ builds: [], services: [] });
});
