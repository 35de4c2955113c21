# Two stages: the first compiles and picks what runs, the second holds that and nothing else.
# Both bases must be glibc 2.34 or newer with Node 24 (Debian 12, UBI 9): the SQLite binary that npm brings is built for it.
ARG BUILD_IMAGE=docker.io/library/node:24-bookworm-slim
ARG RUN_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm ci --omit=dev --ignore-scripts

FROM ${RUN_IMAGE}
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY LICENSE ./
RUN mkdir /data && chown 1000:1000 /data
ENV NODE_ENV=production MILLPOND_DISK_FOLDER=/data
USER 1000:1000
VOLUME /data
EXPOSE 5000
# Asks the admin listener, which is on the container's loopback unless the configuration moves it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:5001/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["serve"]
