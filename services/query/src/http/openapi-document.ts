interface Header {
  readonly description: string;
  readonly schema: object;
}

interface Response {
  readonly description: string;
  readonly content?: Readonly<Record<string, object>>;
  readonly headers?: Readonly<Record<string, Header | { readonly $ref: string }>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly responses: Readonly<Record<string, Response>>;
}

/** The part of an OpenAPI document that is completed here. */
export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>;
    readonly securitySchemes: object;
  };
}

const textHeader = (description: string): Header => ({ description, schema: { type: 'string' } });
const wholeHeader = (description: string): Header => ({
  description,
  schema: { type: 'integer', minimum: 0 },
});
const HEADERS = {
  'X-Request-Id': textHeader("id of the request, also in the service's log"),
  'Cache-Control': textHeader('no-store, or how long an answer over a past range may be cached'),
  'X-RateLimit-Limit': wholeHeader('requests in a minute, if there is a limit'),
  'X-RateLimit-Remaining': wholeHeader('how many of them are left'),
  'X-RateLimit-Reset': wholeHeader('seconds until the minute is over'),
  'Retry-After': wholeHeader('seconds after which to try again'),
  'WWW-Authenticate': textHeader('how to authenticate'),
  'Content-Disposition': textHeader('the name of the file, if the answer is one'),
  'X-Content-Type-Options': textHeader('nosniff, if the answer is a file'),
  ETag: textHeader('version of an answer that may be cached'),
  Vary: textHeader('request headers that change the answer'),
};
const headersOf = (...names: (keyof typeof HEADERS)[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
/** Headers that any answer may have. */
const COMMON = headersOf(
  'X-Request-Id',
  'Cache-Control',
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
);
const CACHING = headersOf('ETag', 'Vary');
const FILE = headersOf('Content-Disposition', 'X-Content-Type-Options');

/** Parts that all routes share and no schema of a route has. */
export function completed(document: OpenApiDocument): object {
  const paths = Object.fromEntries(
    Object.entries(document.paths).map(([path, operations]) => [
      path,
      Object.fromEntries(
        Object.entries(operations).map(([method, operation]) => [
          method,
          completedOf(operation, method === 'get'),
        ]),
      ),
    ]),
  );
  const shared = createShared();
  const sharedPaths = Object.fromEntries(
    Object.entries(paths).map(([path, operations]) => [
      path,
      Object.fromEntries(
        Object.entries(operations).map(([method, operation]) => [method, shared.of(operation)]),
      ),
    ]),
  );
  return {
    ...document,
    paths: sharedPaths,
    components: {
      ...document.components,
      schemas: usedSchemas(document, paths),
      headers: HEADERS,
      ...shared.components(),
    },
  };
}

/** Parameters and problems that are the same on many routes stand once in the document. */
function createShared() {
  const parameters = createNamed('parameters');
  const responses = createNamed('responses');
  return {
    of: (operation: Operation) => ({
      ...operation,
      ...(operation.parameters === undefined
        ? {}
        : { parameters: operation.parameters.map((each) => parameters.refer(each.name, each)) }),
      responses: Object.fromEntries(
        Object.entries(operation.responses).map(([status, response]) => [
          status,
          status.startsWith('20') ? response : responses.refer(`Status${status}`, response),
        ]),
      ),
    }),
    components: () => ({ parameters: parameters.all(), responses: responses.all() }),
  };
}

function createNamed(kind: 'parameters' | 'responses') {
  const names = new Map<string, string>();
  const all: Record<string, object> = {};
  return {
    all: () => all,
    refer(wanted: string, part: object): { readonly $ref: string } {
      const text = JSON.stringify(part);
      let name = names.get(text);
      if (name === undefined) {
        // The same name may mean different things on different routes.
        const alike = Object.keys(all).filter((each) => each.replace(/_\d+$/, '') === wanted);
        name = alike.length === 0 ? wanted : `${wanted}_${alike.length + 1}`;
        names.set(text, name);
        all[name] = part;
      }
      return { $ref: `#/components/${kind}/${name}` };
    },
  };
}

/** @param isRead whether its answers may be kept. */
function completedOf(
  operation: Operation,
  isRead: boolean,
): Operation & { readonly security: object[] } {
  const responses = Object.entries(operation.responses).map(([status, response]) => [
    status,
    {
      ...response,
      headers: {
        ...response.headers,
        ...COMMON,
        ...(status === '200' ? CACHING : {}),
        ...(Object.keys(response.content ?? {}).length > 1 ? FILE : {}),
        ...(status === '429' || status === '503' ? headersOf('Retry-After') : {}),
        ...(status === '401' ? headersOf('WWW-Authenticate') : {}),
      },
    },
  ]);
  const kept = {
    description: "the client's cached answer is current",
    headers: { ...COMMON, ...CACHING },
  };
  return {
    ...operation,
    // The empty one: a service on loopback may ask for no key.
    security: [{ bearer: [] }, { apiKey: [] }, {}],
    responses: Object.fromEntries(
      isRead ? [...responses, ['304', kept]] : responses,
    ) as Operation['responses'],
  };
}

const REFERENCE = /"#\/components\/schemas\/([^"]+)"/g;

/** Only schemas of answers: the generator makes a twin of each schema for requests. */
function usedSchemas(
  { components }: OpenApiDocument,
  paths: OpenApiDocument['paths'],
): Record<string, object> {
  const used = new Set<string>();
  const visit = (part: object) => {
    for (const [, name = ''] of JSON.stringify(part).matchAll(REFERENCE)) {
      if (used.has(name)) continue;
      used.add(name);
      visit(components.schemas[name] ?? {});
    }
  };
  visit(paths);
  return Object.fromEntries(Object.entries(components.schemas).filter(([name]) => used.has(name)));
}
