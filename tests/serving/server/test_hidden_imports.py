import importlib.util
import sys

import pytest

from serving.server.hidden_imports import hidden


def test_a_package_is_hidden_for_as_long_as_the_block_runs():
    # In nothing that tests import.
    assert "this" not in sys.modules
    with hidden(("this", "sys")):
        with pytest.raises(ImportError):
            importlib.import_module("this")
        assert importlib.import_module("sys") is sys
    assert importlib.util.find_spec("this") is not None
