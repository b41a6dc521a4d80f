# docker build -t chaos-load .        docker run --rm -v "$PWD:/work" chaos-load run plan.yaml --out results
FROM debian:12 AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        gcc libc6-dev cmake ninja-build pkg-config \
        libevent-dev libssl-dev libcurl4-openssl-dev libyaml-dev libcjson-dev zlib1g-dev libjs-dygraphs \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
WORKDIR /src
RUN cmake --preset release -DCHAOS_TESTS=OFF -DCHAOS_BENCH=OFF \
    && cmake --build --preset release \
    && DESTDIR=/out cmake --install build/release --prefix /usr --strip

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates libevent-core-2.1-7 libevent-pthreads-2.1-7 libssl3 libcurl4 libyaml-0-2 libcjson1 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/usr /usr
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/usr/bin/chaos-load"]
CMD ["--help"]
