# The SOCKS5 proxy. Build from the top of the repository:
#   docker build -f infra/docker/proxy.Dockerfile -t sockscope/proxy .
# It writes to /var/lib/sockscope only: the spool of events that Kafka does not have yet. Give every
# proxy a volume of its own there, and keep it: the events of a proxy that died are in it.
ARG NODE=docker.io/library/node:26-bookworm-slim

FROM ${NODE} AS build
# A registry behind a private certificate authority; leaves no trace in the image.
ARG NODE_EXTRA_CA_CERTS
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.base.json ./
COPY schemas schemas
COPY services/runtime services/runtime
COPY services/proxy services/proxy
RUN npm ci --ignore-scripts --include-workspace-root -w schemas -w services/runtime -w services/proxy \
  && npx tsc -b services/proxy \
  && npm ci --ignore-scripts --omit=dev -w schemas -w services/runtime -w services/proxy \
  && find schemas services -mindepth 1 \( -name src -o -name '*.d.ts' -o -name '*.map' -o -name '.tsbuildinfo' -o -name 'tsconfig.json' -o -path '*/dist/testing' \) -prune -exec rm -rf {} +

FROM ${NODE}
# The commit that it was built from: --build-arg REVISION=$(git rev-parse HEAD)
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sockscope-proxy" \
  org.opencontainers.image.description="SOCKS5 proxy that emits an event for everything it relays" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="0.1.0" \
  org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production \
  PROXY_LISTEN=0.0.0.0:1080 \
  PROXY_OPS_LISTEN=0.0.0.0:9101 \
  PROXY_SPOOL_DIR=/var/lib/sockscope/spool
WORKDIR /app
COPY --from=build --chown=0:0 /app /app
RUN install -d -o 1000 -g 1000 /var/lib/sockscope
USER 1000:1000
VOLUME /var/lib/sockscope
EXPOSE 1080 9101
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "fetch('http://' + process.env.PROXY_OPS_LISTEN.replace(/^(0\\.0\\.0\\.0|\\[::\\])(?=:)/, '127.0.0.1') + '/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "services/proxy/dist/main.js"]
