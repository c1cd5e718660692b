"""A local stand-in for TensorFlow Serving: the same protocols, version folders and swaps, in Python.

`versions` reads a model's folder, `warm_up` turns one version into callable signatures, `manager` decides which are
served and counts who uses them, `registry` holds the managers of all models, which `model_config` lists.
`prediction` answers one request, alone or by `batching`; `grpc_port` and `rest_port` bring it in and take its answer
out, past `security`. `server` holds all of them together.
"""
