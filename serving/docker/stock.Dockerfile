# TensorFlow Serving as it is released, with Souk's configuration. It has no ops of ScaNN: models for it are built with
# `index.backend: portable`.
#
#   docker build -f serving/docker/stock.Dockerfile -t souk-serving:2.16.1 serving
FROM tensorflow/serving:2.16.1

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/*

COPY tf_serving/models.config tf_serving/batching.config tf_serving/monitoring.config /etc/souk/
COPY --chmod=0755 docker/healthy.sh /usr/local/bin/souk-healthy

# Nobody in particular; nothing in the image belongs to this user, and nothing needs to be written.
USER 65532:65532
EXPOSE 8500 8501

# TensorFlow Serving opens its ports once every model is loaded; a large index takes minutes.
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
