"""Schedules of compiled pipelines: the same few operations on Kubeflow Pipelines and on Vertex AI."""
