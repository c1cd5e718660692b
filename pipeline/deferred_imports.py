"""Packages whose own code runs when it is first asked for, not where one of their modules is imported.

TFX's package of components imports all of them to name them, and so the libraries of those that Souk does not use, such
as TensorFlow Model Analysis and Keras Tuner: half of all that a command imports that runs the pipeline.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Final

DEFERRED: Final = ("tfx.components", "tensorflow_model_analysis")


def install() -> None:
    """Defers these packages in this process from now on; one that is imported already stays as it is."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name in DEFERRED else None
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


class _DeferringLoader(Loader):
    def __init__(self, own: Loader):
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Package(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet; see `_Package`."""


class _Package(ModuleType):
    """A package that runs its own code when asked for a name that is none of its modules."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        module = f"{self.__name__}.{name}"
        if importlib.util.find_spec(module) is not None:
            return importlib.import_module(module)
        self.__class__ = ModuleType  # type: ignore[assignment]
        loader = self.__spec__.loader if self.__spec__ else None
        if isinstance(loader, _DeferringLoader):
            loader.own.exec_module(self)
        return getattr(self, name)
