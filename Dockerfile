# The image of any of the four exporters:
#
#   docker build --build-arg EXPORTER=redis --tag redis-exporter .                   compiles it; nothing but Docker is needed
#   docker build --build-arg EXPORTER=redis --target prebuilt --tag redis-exporter . takes what `make containers` has laid out
#
# All that makes the image what it is stands in the first stage. The two ways differ in where the files come from and in
# nothing else, and need no feature of a particular builder. What is prebuilt comes first, since some builders make every
# stage before the target, and that of the compiler has to be fetched.
ARG GO_VERSION=1.26.7

FROM scratch AS image
ARG EXPORTER=postgres
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="${EXPORTER}-exporter" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="https://github.com/alfred-agent-platform/backend-exporters" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, so that Kubernetes can tell that it is not root. Any other will do: nothing in the image belongs to anybody.
USER 65534:65534
EXPOSE 9091
ENTRYPOINT ["/exporter"]
# Of the process alone: a container that is called ill, and perhaps restarted, because its database is down helps nobody.
# Where the exporter listens elsewhere or with TLS, give the container a health check of its own.
HEALTHCHECK --interval=15s --timeout=6s --start-period=5s --retries=3 \
    CMD ["/exporter", "healthcheck", "--url=http://127.0.0.1:9091/healthz"]

FROM image AS prebuilt
ARG EXPORTER=postgres
COPY bin/image/${EXPORTER}/ /

FROM --platform=${BUILDPLATFORM:-linux/amd64} golang:${GO_VERSION} AS build
ARG EXPORTER=postgres
ARG VERSION=unknown
ARG REVISION=unknown
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache/go-build --mount=type=cache,target=/go/pkg/mod \
    GOOS=${TARGETOS} GOARCH=${TARGETARCH} make "VERSION=${VERSION}" "REVISION=${REVISION}" "bin/${EXPORTER}-exporter" && \
    tools/container-root.sh "${EXPORTER}"

FROM image
ARG EXPORTER=postgres
COPY --from=build /src/bin/image/${EXPORTER}/ /
