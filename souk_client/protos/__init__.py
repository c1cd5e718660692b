"""TensorFlow Serving's wire format without TensorFlow: its field numbers under Souk's own names.

The `_pb2` modules are generated: `python -m serving.protos.generate` writes them anew.
"""
