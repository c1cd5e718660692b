"""Packages that TensorFlow imports wherever they are installed, and that a server has no use for."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

# For TPUs of Google's cloud, and for what Keras reads, draws and writes: a quarter of the time that TensorFlow's import
# takes. It does without each of them where it is not installed.
NEEDLESS: Final = ("googleapiclient", "h5py", "pandas", "pydot")


@contextlib.contextmanager
def hidden(names: Sequence[str]) -> Iterator[None]:
    """Within it, these packages cannot be imported, but for those that have been; afterwards they can."""
    # Their place in `sys.modules` may be None, which its type does not say.
    modules = cast(dict[str, Any], sys.modules)
    taken = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(taken))
    try:
        yield
    finally:
        for name in taken:
            del modules[name]
