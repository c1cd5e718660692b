import importlib
import subprocess
import sys

import pytest

from pipeline import deferred_imports


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The name of a package that notes in `sys.modules` when its own code has run."""
    name = "deferred_for_a_test"
    (tmp_path / name / "inner").mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text("from deferred_for_a_test.module import VALUE\nRAN = True\n")
    (tmp_path / name / "module.py").write_text("VALUE = 7\n")
    (tmp_path / name / "inner" / "__init__.py").write_text("VALUE = 8\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(deferred_imports, "DEFERRED", (name,))
    yield name
    for found in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[found]


def test_a_packages_modules_are_had_without_its_own_code(package):
    assert importlib.import_module(f"{package}.module").VALUE == 7
    whole = sys.modules[package]
    assert (whole.module.VALUE, whole.inner.VALUE) == (7, 8)
    assert not hasattr(whole, "__all__")
    assert "RAN" not in vars(whole)


def test_its_own_names_run_it(package):
    whole = importlib.import_module(package)
    assert "RAN" not in vars(whole)
    assert (whole.VALUE, whole.RAN) == (7, True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = whole.nothing


def test_the_pipeline_package_defers_those_of_tfx():
    seen = "import sys, pipeline, tfx.components as c; print(type(c).__module__, 'tfx.components.tuner' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["pipeline.deferred_imports", "False"]
