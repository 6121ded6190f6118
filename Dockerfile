# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG RELEASE=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${RELEASE}" -o /lakeload ./cmd/lakeload \
    && mkdir /lake

# No shell, no package manager, not root. /lake is where a volume for the lake belongs.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /lakeload /usr/local/bin/lakeload
COPY --from=build --chown=nonroot:nonroot /lake /lake
USER nonroot
WORKDIR /home/nonroot
VOLUME /lake
ENTRYPOINT ["lakeload"]
CMD ["help"]
