# The operator. The build context is a folder with nothing but its binary in it: see `build`.
FROM debian:trixie-slim
# TLS clients do not start without roots, and the base has none.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
COPY naru-operator /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/naru-operator"]
