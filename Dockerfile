# streamajig with its kernels compiled, for any x86-64 processor with AVX2 and FMA: see docs/howto-start-at-once.md
FROM python:3.13-slim AS build
COPY . /source
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN python -m pip install --no-cache-dir "$(echo /wheels/streamajig-*.whl)[masks,hdf5,dectris,pictures,tables,monitor]"
RUN streamajig warm-up --portable
# whoever the container runs as: code for what was not compiled here is kept there
ENV XDG_CACHE_HOME=/tmp/cache
WORKDIR /data
ENTRYPOINT ["streamajig"]
CMD ["--help"]
