# The service that folds events into ClickHouse, and its commands (migrate, verify, rebuild …). Build from the top of the repository:
#   docker build -f infra/docker/ingest.Dockerfile -t sockscope/ingest .
# It writes nothing.
ARG NODE=docker.io/library/node:26-bookworm-slim

FROM ${NODE} AS build
# A registry behind a private certificate authority; leaves no trace in the image.
ARG NODE_EXTRA_CA_CERTS
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.base.json ./
COPY schemas schemas
COPY services/runtime services/runtime
COPY services/ingest services/ingest
RUN npm ci --ignore-scripts --include-workspace-root -w schemas -w services/runtime -w services/ingest \
  && npx tsc -b services/ingest \
  && npm ci --ignore-scripts --omit=dev -w schemas -w services/runtime -w services/ingest \
  && find schemas services -mindepth 1 \( -name src -o -name '*.d.ts' -o -name '*.map' -o -name '.tsbuildinfo' -o -name 'tsconfig.json' -o -path '*/dist/testing' \) -prune -exec rm -rf {} +

FROM ${NODE}
# The commit that it was built from: --build-arg REVISION=$(git rev-parse HEAD)
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sockscope-ingest" \
  org.opencontainers.image.description="folds the events of the proxies into ClickHouse" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="0.1.0" \
  org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production \
  MALLOC_MMAP_THRESHOLD_=262144 \
  INGEST_OPS_LISTEN=0.0.0.0:9102
WORKDIR /app
COPY --from=build --chown=0:0 /app /app
USER 1000:1000
EXPOSE 9102
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "fetch('http://' + process.env.INGEST_OPS_LISTEN.replace(/^(0\\.0\\.0\\.0|\\[::\\])(?=:)/, '127.0.0.1') + '/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "services/ingest/dist/main.js"]
