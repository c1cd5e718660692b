# TensorFlow Serving 2.16.1 with the ops of ScaNN 1.3.2, for models built with `index.backend: scann`.
#
#   docker build -f serving/docker/scann.Dockerfile -t souk-serving-scann:2.16.1 serving
#
# NOT TRIED. It was written without a container engine, and building TensorFlow Serving takes hours and some 30 GB. What is
# known: ScaNN's sources hold Dockerfiles like this one, whose last image is of TensorFlow Serving 2.11
# (google/tf-serving-scann:2.11.0), too old for ScaNN 1.3.2, which is made for TensorFlow 2.16. This one makes the same
# changes to the sources (link_scann.py, tested on its own). Where the build may need a hand: the compiler, the
# versions of Abseil and protobuf that ScaNN meets here, and targets that moved. `index.backend: portable` needs
# none of this.
FROM tensorflow/serving:2.16.1-devel AS build

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# ScaNN is written for Clang; 17 is what TensorFlow 2.16 itself is built with. The release of Ubuntu is the base image's.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl gnupg \
 && . /etc/os-release \
 && curl -fsSL --retry 5 https://apt.llvm.org/llvm-snapshot.gpg.key \
  | gpg --dearmor -o /usr/share/keyrings/llvm.gpg \
 && echo "deb [signed-by=/usr/share/keyrings/llvm.gpg] http://apt.llvm.org/${VERSION_CODENAME}/ llvm-toolchain-${VERSION_CODENAME}-17 main" \
    > /etc/apt/sources.list.d/llvm.list \
 && apt-get update \
 && apt-get install -y --no-install-recommends clang-17 \
 && rm -rf /var/lib/apt/lists/*

# A commit of google-research whose release notes end with ScaNN 1.3.2.
ARG SCANN_COMMIT=079efba2bf9adb1b45399fc5b00eab1023fc3e80
RUN mkdir /scann \
 && curl -fsSL --retry 5 "https://github.com/google-research/google-research/archive/${SCANN_COMMIT}.tar.gz" \
  | tar -xz -C /scann --strip-components=2 "google-research-${SCANN_COMMIT}/scann"

COPY docker/link_scann.py /
WORKDIR /tensorflow-serving
RUN python3 /link_scann.py /tensorflow-serving /scann

# ScaNN's kernels need AVX2 and FMA: processors from about 2013 on.
ARG TF_SERVING_BUILD_OPTIONS="--config=release --copt=-mavx2 --copt=-mfma --cxxopt=-std=c++17 --copt=-fsized-deallocation"
# Unquoted on purpose: these are several options.
# hadolint ignore=SC2086
RUN CC=clang-17 CXX=clang++-17 bazel build --color=no --curses=no --verbose_failures ${TF_SERVING_BUILD_OPTIONS} \
      tensorflow_serving/model_servers:tensorflow_model_server \
 && install -m 0755 bazel-bin/tensorflow_serving/model_servers/tensorflow_model_server /usr/local/bin/ \
 # A server without the ops would be found out by the first model only.
 && grep -q 'Scann>ScannSearchBatched' /usr/local/bin/tensorflow_model_server

FROM tensorflow/serving:2.16.1

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/*

COPY --from=build /usr/local/bin/tensorflow_model_server /usr/bin/tensorflow_model_server
COPY tf_serving/models.config tf_serving/batching.config tf_serving/monitoring.config /etc/souk/
COPY --chmod=0755 docker/healthy.sh /usr/local/bin/souk-healthy

USER 65532:65532
EXPOSE 8500 8501

HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 CMD ["souk-healthy", "souk"]

# As process 1 TensorFlow Serving would ignore SIGTERM, for which it has no handler: only a kill would end it.
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/bin/tensorflow_model_server"]
# docs/deployment.md says why threads and retries are as they are.
CMD ["--port=8500", \
     "--rest_api_port=8501", \
     "--model_config_file=/etc/souk/models.config", \
     "--model_config_file_poll_wait_seconds=10", \
     "--file_system_poll_wait_seconds=10", \
     "--allow_version_labels_for_unavailable_models=true", \
     "--enable_batching=true", \
     "--batching_parameters_file=/etc/souk/batching.config", \
     "--monitoring_config_file=/etc/souk/monitoring.config", \
     "--grpc_max_threads=320", \
     "--num_load_threads=2", \
     "--max_num_load_retries=0", \
     "--grpc_channel_arguments=grpc.max_connection_age_ms=30000,grpc.max_connection_age_grace_ms=10000"]
