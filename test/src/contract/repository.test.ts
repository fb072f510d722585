import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readText, repositoryFiles, ROOT } from './repository.js';

const markdown = repositoryFiles('*.md');

describe('the repository', () => {
  test('every npm script that the documentation names is there', () => {
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
    const known = new Set([...Object.keys(scripts), 'ci', 'install']);
    const missing = markdown.flatMap((file) =>
      [...readText(file).matchAll(/\bnpm (?:run ([\w:-]+)|(start|test)\b)/g)]
        .map((match) => match[1] ?? match[2] ?? '')
        .filter((name) => !known.has(name))
        .map((name) => `${file}: npm run ${name}`),
    );
    expect(missing).toEqual([]);
  });

  test('every link of the documentation to a file leads somewhere', () => {
    const missing = markdown.flatMap((file) =>
      [...readText(file).matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)]
        .map((match) => match[1] ?? '')
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => !existsSync(join(ROOT, dirname(file), target)))
        .map((target) => `${file}: ${target}`),
    );
    expect(missing).toEqual([]);
  });

  test('every file that the documentation names is there', () => {
    // By the end of its path, because a sentence names the file, not the way to it.
    const files = repositoryFiles('*').map((file) => `/${file}`);
    const missing = markdown.flatMap((file) =>
      [...readText(file).matchAll(/`(\w[\w./-]*\.(?:ts|tsx|mjs|sql|yaml|json|ndjson))`/g)]
        .map(([, name = '']) => name)
        .filter((name) => name !== 'index.ts' && !files.some((each) => each.endsWith(`/${name}`)))
        .map((name) => `${file}: ${name}`),
    );
    expect(missing).toEqual([]);
  });

  test('every link of the documentation into a page leads to a heading', () => {
    const slugsOf = (file: string) =>
      new Set(
        [...readText(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
          heading
            .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
            .toLowerCase()
            .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
            .replaceAll(' ', '-'),
        ),
      );
    const missing = markdown.flatMap((file) =>
      [...readText(file).matchAll(/\]\(([^)\s#:]*)#([^)\s]+)\)/g)]
        .map(([, target = '', anchor = '']) => ({
          page: target === '' ? file : join(dirname(file), target),
          anchor,
        }))
        .filter(({ page, anchor }) => page.endsWith('.md') && !slugsOf(page).has(anchor))
        .map(({ page, anchor }) => `${file}: ${page}#${anchor}`),
    );
    expect(missing).toEqual([]);
  });

  test('a file of more than 400 lines has a reason at its head', () => {
    const silent = ['*.ts', '*.tsx', '*.mjs']
      .flatMap((pattern) => repositoryFiles(pattern))
      .filter((file) => !file.includes('.generated.'))
      .filter((file) => {
        const text = readText(file);
        const lines = text.split('\n').length - 1;
        return (
          lines > 400 &&
          !/^(?:\/\/| ?\/?\*).*400 lines(?::| because) \w/m.test(text.slice(0, 2_000))
        );
      });
    expect(silent).toEqual([]);
  });

  test('the lock file names no registry, so that any mirror serves', () => {
    const { packages } = JSON.parse(readText('package-lock.json')) as {
      packages: Record<string, { resolved?: string }>;
    };
    const hosts = Object.entries(packages)
      .filter(([, entry]) => entry.resolved?.includes('://'))
      .map(([path]) => path);
    expect(hosts).toEqual([]);
  });

  test('every dependency has an exact version', () => {
    const loose = repositoryFiles('package.json', '**/package.json').flatMap((file) => {
      const manifest = JSON.parse(readText(file)) as Record<string, Record<string, string>>;
      return ['dependencies', 'devDependencies', 'optionalDependencies']
        .flatMap((kind) => Object.entries(manifest[kind] ?? {}))
        .filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))
        .map(([name, version]) => `${file}: ${name} ${version}`);
    });
    expect(loose).toEqual([]);
  });

  test('no two migrations have one number', () => {
    const numbers = repositoryFiles('services/ingest/migrations/*.sql').map(
      (file) => /(\d+)_[^/]*$/.exec(file)?.[1],
    );
    expect(numbers.length).toBeGreaterThan(0);
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test('a migration that databases have applied never changes', () => {
    // `migrate` refuses a database whose record names another checksum. For a new migration, append its
    // line: sha256sum NNNN_name.sql >> CHECKSUMS
    const folder = 'services/ingest/migrations';
    const changed = readText(`${folder}/CHECKSUMS`)
      .trimEnd()
      .split('\n')
      .filter((line) => {
        const [checksum, file = ''] = line.split(/ +/);
        return (
          checksum !==
          createHash('sha256')
            .update(readText(`${folder}/${file}`))
            .digest('hex')
        );
      });
    expect(changed).toEqual([]);
  });

  test('all packages have the same version', () => {
    const versions = repositoryFiles('package.json', '**/package.json')
      .map((file) => (JSON.parse(readText(file)) as { version?: string }).version)
      .filter((version) => version !== undefined);
    expect(new Set(versions).size).toBe(1);
  });

  test('a unit test that replaces modules or counts descriptors is named *.isolated.test.ts', () => {
    const wrong = repositoryFiles('**/src/**/*.test.ts')
      .filter((file) => !file.startsWith('test/') && !/\.(?:integration|isolated)\./.test(file))
      .filter((file) => /vi\.mock\(|\/proc\/self\/fd|process\.on\(/.test(readText(file)));
    expect(wrong).toEqual([]);
  });

  test('the list of folders names every folder of the sources', () => {
    const guide = readText('docs/reference/folders.md');
    const folders = new Set(
      repositoryFiles('schemas/src/**', 'services/**/src/**', 'infra/local/src/**', 'test/src/**')
        .map((file) => /^(.*?\/src\/[^/]+)\//.exec(file)?.[1])
        .filter((folder) => folder !== undefined),
    );
    const missing = [...folders].filter((folder) => {
      const name = folder.slice(folder.lastIndexOf('/') + 1);
      return !new RegExp(`\`${name}/?\``).test(guide);
    });
    expect(missing.toSorted()).toEqual([]);
  });

  test('decisions are numbered without gaps and have one format', () => {
    const files = repositoryFiles('docs/adr/*-*.md').toSorted();
    expect(files.length).toBeGreaterThan(0);
    const wrong = files.flatMap((file, index) => {
      const number = String(index + 1).padStart(4, '0');
      const text = readText(file);
      const sections = [...text.matchAll(/^## (.*)$/gm)].map((match) => match[1]);
      const problems = [
        file.startsWith(`docs/adr/${number}-`) ? null : `the next free number is ${number}`,
        text.startsWith(`# ${/(\d{4})-/.exec(file)?.[1]}: `)
          ? null
          : 'the title begins with the number',
        /^Status: (?:accepted|superseded by \[\d{4}\])/m.test(text)
          ? null
          : 'the status is "Status: accepted" or "Status: superseded by [NNNN](…)"',
        sections.join() === 'Context,Decision,Consequences'
          ? null
          : 'the sections are Context, Decision and Consequences',
      ];
      return problems.filter((problem) => problem !== null).map((problem) => `${file}: ${problem}`);
    });
    expect(wrong).toEqual([]);
  });

  test('nothing that the compiler writes is committed beside its source', () => {
    const sources = new Set(repositoryFiles('*.ts', '*.tsx'));
    const compiled = repositoryFiles('*/src/**/*.js', '*/src/**/*.map').filter((file) =>
      sources.has(file.replace(/\.js(?:\.map)?$/, '.ts')),
    );
    expect(compiled).toEqual([]);
  });

  test('the script of the continuous integration can be executed', () => {
    expect(statSync(join(ROOT, '.ci/run')).mode & 0o111).not.toBe(0);
  });
});
