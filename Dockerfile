# The image of the controller: a virtual environment of locked, hashed wheels on a base with Python. docs/image.md
# says what is in it, how to build it on a base of your own, and why there is no HEALTHCHECK in it.

# Both stages have one base, so that the environment meets the very interpreter it was made with. Any base will do
# that has a python3 of 3.11 or newer with venv; pin yours by digest.
ARG BASE_IMAGE=python:3.13-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all:
WORKDIR /build

# What changes rarely comes first. The builder's pip installs into an environment that has none.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv tools \
    && python3 -m venv --without-pip /opt/porter-outputs-syncer \
    && tools/bin/pip install --require-hashes -r requirements/build.txt \
    && tools/bin/pip --python /opt/porter-outputs-syncer/bin/python install \
        --no-compile --require-hashes -r requirements/runtime.txt

COPY pyproject.toml README.md LICENSE ./
COPY syncer syncer
COPY backends backends
# Bytecode that never looks at its source: the same whenever it was built, and nothing to write at run time.
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && tools/bin/pip --python /opt/porter-outputs-syncer/bin/python install \
        --no-compile --no-deps --no-index wheels/*.whl \
    && python3 -m compileall -q -f --invalidation-mode unchecked-hash /opt/porter-outputs-syncer

# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="porter-outputs-syncer" \
      org.opencontainers.image.description="Keeps the outputs of Porter installations in sync with the places applications read secrets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/porter-outputs-syncer /opt/porter-outputs-syncer
ENV PATH=/opt/porter-outputs-syncer/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/opt/porter-outputs-syncer/bin/syncer"]
CMD ["run", "-c", "/etc/porter-outputs-syncer/syncer.yaml"]
