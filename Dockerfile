# The service in an image without a shell. TLS roots are compiled in, so it needs no CA files.
FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build
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
COPY --from=builder /build/target/release/eventbridge /usr/local/bin/eventbridge
# The folder in which `dev` keeps its secret and the sandbox's pages; `serve` keeps nothing on disk.
COPY --from=builder --chown=nonroot:nonroot /data /data
WORKDIR /data
USER nonroot
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["eventbridge", "ready"]
ENTRYPOINT ["eventbridge"]
CMD ["serve"]
