# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG RELEASE=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${RELEASE}" -o /lakeload ./cmd/lakeload \
    && mkdir /cache

# No shell, no package manager, not root. The folder is a cache: it may be lost with the container.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /lakeload /usr/local/bin/lakeload
COPY --from=build --chown=nonroot:nonroot /cache /home/nonroot/.cache
USER nonroot
WORKDIR /home/nonroot
EXPOSE 9187
ENTRYPOINT ["lakeload"]
CMD ["help"]
