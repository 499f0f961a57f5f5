# The service in an image without a shell: the program, and what a C program needs to run. TLS roots are
# compiled in, so it needs no CA files, and it writes nothing, so its root may be read-only.
FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build
# Queries are checked against the committed data: no database is needed.
ENV SQLX_OFFLINE=true

# The dependencies alone: this layer stays cached until a manifest changes.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin eventbridge \
    && rm -r src

COPY .sqlx .sqlx
COPY .env-model .env-model
COPY migrations migrations
COPY src src
# Cargo goes by modification times, and the files that took the place of these may be younger.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin eventbridge \
    && mkdir /data

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="EventBridge API" \
      org.opencontainers.image.description="Receives Stripe webhooks, commits them to Postgres and delivers each one to Notion." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /build/target/release/eventbridge /usr/local/bin/eventbridge
# The folder in which `dev` keeps its secret and the sandbox's pages; `serve` keeps nothing on disk.
COPY --from=builder --chown=65532:65532 /data /data
WORKDIR /data
# As a number, so that whoever runs it can see that it is not root.
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["eventbridge", "health"]
ENTRYPOINT ["eventbridge"]
CMD ["serve"]
