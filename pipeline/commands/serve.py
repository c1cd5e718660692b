"""`souk serve`: the local stand-in for TensorFlow Serving."""

from serving.server.command import command

__all__ = ["command"]
