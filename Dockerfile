# syntax=docker/dockerfile:1
# Builds ghostpin, and a small image that runs it without root and with a read-only root file system:
#   docker build -t ghostpin .
#   docker run --read-only -v ghostpin:/var/lib/ghostpin -v ./ghostpin.toml:/etc/ghostpin/ghostpin.toml:ro -p 80:8080 ghostpin
# In the file: state = "/var/lib/ghostpin/state" (a folder that is not there yet), http = ["0.0.0.0:8080"]; with TLS also
# https = ["0.0.0.0:8443"], [tls] public_port = 443, and -p 443:8443.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p ghostpin

FROM debian:bookworm-slim
RUN useradd --system --home-dir /var/lib/ghostpin --create-home ghostpin
COPY --from=build /src/target/release/ghostpin /usr/local/bin/ghostpin
USER ghostpin
VOLUME /var/lib/ghostpin
EXPOSE 8080 8443
ENTRYPOINT ["/usr/local/bin/ghostpin"]
CMD ["run"]
