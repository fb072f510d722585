# The HTTP API and the dashboard. Build from the top of the repository:
#   docker build -f infra/docker/query.Dockerfile -t sockscope/query .
# It writes nothing.
ARG NODE=docker.io/library/node:26-bookworm-slim

FROM ${NODE} AS build
# A registry behind a private certificate authority; leaves no trace in the image.
ARG NODE_EXTRA_CA_CERTS
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.base.json ./
COPY schemas schemas
COPY services/runtime services/runtime
COPY services/query services/query
RUN npm ci --ignore-scripts --include-workspace-root -w schemas -w services/runtime -w services/query -w services/query/client -w services/query/web \
  && npx tsc -b services/query services/query/client \
  && npm run build -w services/query/web \
  && npm ci --ignore-scripts --omit=dev -w schemas -w services/runtime -w services/query \
  && find schemas services -mindepth 1 \( -name src -o -name '*.d.ts' -o -name '*.map' -o -name '.tsbuildinfo' -o -name 'tsconfig.json' -o -path '*/dist/testing' \) -prune -exec rm -rf {} +

FROM ${NODE}
# The commit that it was built from: --build-arg REVISION=$(git rev-parse HEAD)
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sockscope-query" \
  org.opencontainers.image.description="HTTP API and dashboard" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="0.1.0" \
  org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production \
  QUERY_LISTEN=0.0.0.0:8080 \
  QUERY_OPS_LISTEN=0.0.0.0:9103
WORKDIR /app
COPY --from=build --chown=0:0 /app /app
USER 1000:1000
EXPOSE 8080 9103
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "fetch('http://' + process.env.QUERY_OPS_LISTEN.replace(/^(0\\.0\\.0\\.0|\\[::\\])(?=:)/, '127.0.0.1') + '/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "services/query/dist/main.js"]
