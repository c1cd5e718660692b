"""The shim that Beam's `--setup_file` and older pip need; all metadata is in pyproject.toml."""

from setuptools import setup

setup()
