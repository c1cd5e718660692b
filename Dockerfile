# Souk with all that it stands on: for the steps of a compiled pipeline, and for `souk` itself.
#
#   docker build -t souk:0.1.0 .
#   docker build --target beam-worker -t souk-beam:0.1.0 .
#
# No step needs an entry point: a compiled pipeline gives the command of each. Nothing comes from the distribution: the
# locked wheels need its C and C++ libraries alone.
FROM python:3.11-slim-bookworm AS dependencies

ENV UV_COMPILE_BYTECODE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/souk \
    UV_PYTHON_DOWNLOADS=never

WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY scripts/install_uv.py scripts/
# As the lock pins it, like all else.
RUN python scripts/install_uv.py /opt/uv
# Some 4 GB, in a layer that stays while the lock does. Beam's workers end where no pip tells them that Beam is there:
# the seed is for them.
RUN /opt/uv/bin/uv venv --quiet --seed /opt/souk \
 && /opt/uv/bin/uv sync --quiet --frozen --no-dev --all-extras --no-install-project --inexact

FROM dependencies AS code

COPY . .
# Into a folder of its own, which becomes a layer of its own: a change of Souk moves 2 MB.
RUN /opt/uv/bin/uv build --quiet --wheel --no-build-isolation --python /opt/souk/bin/python --out-dir /dist \
 && /opt/uv/bin/uv pip install --quiet --no-deps --python /opt/souk/bin/python --prefix /code /dist/souk_retrieval-*.whl

FROM python:3.11-slim-bookworm AS runtime

LABEL org.opencontainers.image.title="souk" \
      org.opencontainers.image.description="From raw search logs to a gated, served, personalized product retriever" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/souk-search/souk"

# The user has no name in the image; what asks for one finds USER.
ENV PATH=/opt/souk/bin:$PATH \
    HOME=/home/souk \
    USER=souk \
    PYTHONUNBUFFERED=1 \
    TF_USE_LEGACY_KERAS=1

# Kubeflow's launcher, which runs as the step's user, puts the inputs into the first three.
RUN install -d -m 1777 /gcs /minio /s3 /tmp/kfp_outputs /home/souk
COPY --from=dependencies /opt/souk /opt/souk
COPY --from=code /code /opt/souk

USER 65532:65532
WORKDIR /home/souk

# What Flink, Spark and Dataflow start their Python workers from.
FROM runtime AS beam-worker

COPY --from=apache/beam_python3.11_sdk:2.72.0 /opt/apache/beam /opt/apache/beam
# Else a worker would make an environment of its own, and see nothing of this one.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
ENTRYPOINT ["/opt/apache/beam/boot"]

FROM runtime AS souk

CMD ["souk", "--help"]
