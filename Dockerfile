# The service in an image without a shell: the program, and what a C program needs to run. TLS roots are
# compiled in, so it needs no CA files, and it writes nothing, so its root may be read-only.
#
# The last stage, `serve`, is the production image. `docker build --target dev` makes the image that also
# has the commands `dev`, `demo` and `trigger`; docker-compose.yml uses it for the first look.
FROM rust:1.95-slim-bookworm AS source
WORKDIR /build
# Queries are checked against the committed data: no database is needed.
ENV SQLX_OFFLINE=true

# The dependencies alone: this layer stays cached until a manifest changes.
COPY Cargo.toml Cargo.lock build.rs ./
COPY crates/notion-sandbox/Cargo.toml crates/notion-sandbox/
COPY crates/private-postgres/Cargo.toml crates/private-postgres/
COPY crates/sandbox-http/Cargo.toml crates/sandbox-http/
COPY crates/shop-simulator/Cargo.toml crates/shop-simulator/
COPY crates/stripe-samples/Cargo.toml crates/stripe-samples/
COPY crates/stripe-sandbox/Cargo.toml crates/stripe-sandbox/
RUN mkdir src crates/notion-sandbox/src crates/private-postgres/src crates/sandbox-http/src crates/shop-simulator/src \
        crates/stripe-samples/src crates/stripe-sandbox/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs crates/notion-sandbox/src/lib.rs crates/private-postgres/src/lib.rs \
        crates/sandbox-http/src/lib.rs crates/shop-simulator/src/lib.rs crates/stripe-samples/src/lib.rs \
        crates/stripe-sandbox/src/lib.rs \
    && mkdir /data

FROM source AS build-serve
RUN cargo build --release --locked --bin eventbridge --no-default-features && rm -r src
COPY .sqlx .sqlx
COPY .env-model .env-model
COPY migrations migrations
COPY src src
# Cargo goes by modification times, and the files that took the place of these may be younger.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin eventbridge --no-default-features

FROM source AS build-dev
RUN cargo build --release --locked --bin eventbridge && rm -r src crates
COPY .sqlx .sqlx
COPY .env-model .env-model
COPY migrations migrations
COPY crates crates
COPY src src
RUN touch src/main.rs src/lib.rs crates/*/src/lib.rs \
    && cargo build --release --locked --bin eventbridge

FROM gcr.io/distroless/cc-debian12:nonroot AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="EventBridge API" \
      org.opencontainers.image.description="Receives Stripe webhooks, commits them to Postgres and delivers each one to Notion." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The folder in which `dev` keeps its secret and the sandbox's pages; `serve` keeps nothing on disk.
COPY --from=source --chown=65532:65532 /data /data
WORKDIR /data
# As a number, so that the runtime can see that it is not root.
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["eventbridge", "health"]
ENTRYPOINT ["eventbridge"]

FROM base AS dev
COPY --from=build-dev /build/target/release/eventbridge /usr/local/bin/eventbridge
CMD ["dev"]

FROM base AS serve
COPY --from=build-serve /build/target/release/eventbridge /usr/local/bin/eventbridge
CMD ["serve"]
