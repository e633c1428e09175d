# Builds ghostpin, and an image with nothing in it but that one file and the certificate authorities of the web. It runs
# without root, with a read-only root file system and without any capability:
#   docker build -t ghostpin .
#   docker run --read-only --cap-drop ALL -v ghostpin:/var/lib/ghostpin -v ./ghostpin.toml:/etc/ghostpin/ghostpin.toml:ro -p 80:8080 ghostpin
# In the file: state = "/var/lib/ghostpin/state" (a folder that is not there yet), http = ["0.0.0.0:8080"]; with TLS also
# https = ["0.0.0.0:8443"], [tls] public_port = 443, and -p 443:8443.

# Who has built the file already says so: scripts/image.
ARG BUILT=here

FROM rust:1.95-slim-bookworm AS here
RUN apt-get update && apt-get install -y --no-install-recommends \
    ca-certificates gcc libc6-dev libprotobuf-dev protobuf-compiler && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN mkdir -p /out/state && cp "$(scripts/static)" /out/ghostpin

FROM scratch AS elsewhere
COPY target/image/root /

FROM ${BUILT} AS built

FROM scratch
COPY --from=built /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=built /out/ghostpin /usr/local/bin/ghostpin
COPY --from=built --chown=65532:65532 /out/state /var/lib/ghostpin
USER 65532:65532
VOLUME /var/lib/ghostpin
EXPOSE 8080 8443
# Time for the first look at a fleet; then a balancer, a Swarm or an operator knows within seconds.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/ghostpin", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/ghostpin"]
CMD ["run"]
