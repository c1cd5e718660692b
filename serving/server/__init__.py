"""A local stand-in for TensorFlow Serving: the same protocol, version folders and swaps, in Python.

`versions` reads the folder, `loader` turns one version into callable signatures, `manager` decides what is
served and counts who uses it, `servicers` speaks the protocol, `server` holds them together.
"""
