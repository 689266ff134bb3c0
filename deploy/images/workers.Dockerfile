# The workers. The build context is a folder with nothing but their binaries in it: see `build`. Who runs one names it:
# `naru-scrape plan`, `naru-scrape fetch` or `naru-filtered-sum`.
FROM debian:trixie-slim
# TLS clients do not start without roots, and the base has none. (The operator's image has the same layer.)
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
COPY naru-scrape naru-filtered-sum /usr/local/bin/
# A base that was not pulled may come without it.
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
