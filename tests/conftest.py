import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import faulthandler
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from tests.clean_environment import clean_environment  # noqa: F401
from tests.redis_server import redis_server, redis_url  # noqa: F401

if TYPE_CHECKING:
    from tests.small_shop import SmallShop
    from trainer.artifact import TrainedModel

# A shell that runs the tests in the background has this signal ignored, by them and by all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_STDERR = pytest.StashKey[int]()
# Made once for each process that the tests are spread over, so that the tests of one of them stay together, and begin
# first: begun last, they would keep one process busy while the others wait.
_COSTLY = ("tiny_shop", "small_shop", "clean_environment")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Says which tests go to the same process, before xdist reads it, and leaves the slow ones out."""
    place = {}
    for item in items:
        if item.get_closest_marker("slow") and not os.environ.get("SOUK_SLOW_TESTS"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; set SOUK_SLOW_TESTS=1"))
        costly = [name for name in _COSTLY if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(costly[0] if costly else str(item.path)))
        place[item] = _COSTLY.index(costly[0]) if costly else len(_COSTLY)
    items.sort(key=place.__getitem__)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Runs graphs as they were traced: to optimize one takes longer than to run it the few times that a test does.

    What runs in a process of its own, such as `souk run` and `souk serve`, has its graphs optimized, and so has what a
    test runs by a session of TensorFlow 1 or with the fixture `optimized_graphs`.
    """
    if "tensorflow" in sys.modules:
        _optimize_graphs(False)


def _optimize_graphs(wanted: bool) -> None:
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not wanted})


@pytest.fixture
def optimized_graphs() -> Iterator[None]:
    """TensorFlow optimizes what the test traces, as it does for users."""
    _optimize_graphs(True)
    yield
    _optimize_graphs(False)


def pytest_configure(config: pytest.Config) -> None:
    # Before pytest captures it.
    config.stash[_STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Ends a process whose test does not come back from C, where its timeout cannot reach it, and says where it is."""
    limit = float(item.config.getini("timeout")) + 60
    faulthandler.dump_traceback_later(limit, exit=True, file=item.config.stash[_STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@dataclass(frozen=True)
class TinyShop:
    """The preset `tiny`, simulated and taken through the whole pipeline by its commands.

    Attributes:
      folder: what the commands ran in; the configuration is its `souk.yaml`, the root its `run`.
      outcome: what `souk run --json` printed.
    """

    folder: Path
    outcome: dict

    @property
    def config(self) -> str:
        return str(self.folder / "souk.yaml")

    @property
    def root(self) -> Path:
        return self.folder / "run"


def souk(*arguments: str, expect: int = 0) -> "subprocess.CompletedProcess[str]":
    """A `souk` command in a process of its own; its exit code must be `expect`."""
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == expect, f"souk {' '.join(arguments)}\n{ended.stdout}\n{ended.stderr}"
    assert "Traceback" not in ended.stderr
    return ended


def souk_here(*arguments: str, expect: int = 0) -> Result:
    """A `souk` command in this process, which has TensorFlow imported; its exit code must be `expect`."""
    from pipeline.cli import main

    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == expect, f"souk {' '.join(arguments)}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    """One real run of the whole pipeline for all tests of the session; tests must leave it as it is."""
    import yaml

    from pipeline.config import PRESETS

    folder = tmp_path_factory.mktemp("tiny")
    souk("simulate", "--preset", "tiny", "--out", str(folder / "data"))
    settings = yaml.safe_load((PRESETS / "tiny.yaml").read_text().replace("runs/tiny/data", "data"))
    (folder / "souk.yaml").write_text(yaml.safe_dump({**settings, "root": "run"}))
    return TinyShop(folder, json.loads(souk("run", "--config", str(folder / "souk.yaml"), "--json").stdout))


@pytest.fixture(scope="session")
def small_shop() -> "SmallShop":
    """Some fifty items and what was searched for, taken through the real transform."""
    from tests import small_shop

    return small_shop.small_shop()


@pytest.fixture(scope="session")
def trained(small_shop: "SmallShop") -> "TrainedModel":
    """A `dpsr` of the small shop with the settings `TRAINER`; its logs lie in `log` of the shop's folder."""
    from tests.small_shop import TRAINER

    return small_shop.train(TRAINER, small_shop.directory / "log")
