#!/bin/bash
# Ends with 0 if the server on this machine has a version of the model that answers: `healthy.sh MODEL [REST_PORT]`.
# TensorFlow Serving's image has neither curl nor a gRPC probe; bash opens connections by itself.
# Metadata is asked for and not status, since status is told of versions that could not be loaded too.
model=${1:?name of a model}
port=${2:-8501}

exec 3<>"/dev/tcp/127.0.0.1/${port}" || exit 1
printf 'GET /v1/models/%s/metadata HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "${model}" >&3
read -r -t 2 _ status _ <&3 || exit 1
[[ ${status} == 200 ]]
