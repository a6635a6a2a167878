# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /matrixon ./cmd/matrixon \
 && mkdir /data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /matrixon /usr/local/bin/matrixon
COPY --from=build --chown=nonroot:nonroot /data /data
ENV MATRIXON_DATA_DIR=/data \
    MATRIXON_LISTENERS="[{address: '0.0.0.0:8008', serves: [client, federation, media]}, {address: '127.0.0.1:8009', serves: [admin, metrics]}]"
VOLUME /data
EXPOSE 8008 7400
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=2m CMD ["/usr/local/bin/matrixon", "cluster", "status"]
ENTRYPOINT ["/usr/local/bin/matrixon"]
CMD ["serve"]
