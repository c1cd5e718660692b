import pytest

from tests.evaluation import small_world as world


@pytest.fixture(scope="session")
def examples_dir(tmp_path_factory):
    return world.write_examples(tmp_path_factory.mktemp("evaluation") / "examples")


@pytest.fixture(scope="session")
def servables(tmp_path_factory):
    """Real SavedModels by name: the same tower and catalog, each with something else about it."""
    folder = tmp_path_factory.mktemp("servables")
    return {
        "good": world.save_servable(folder / "good", noise=0.10),
        "weaker": world.save_servable(folder / "weaker", noise=0.30),
        "slightly_weaker": world.save_servable(folder / "slightly_weaker", noise=0.22),
        "shuffled": world.save_servable(folder / "shuffled", noise=0.10, shuffled=True),
        "broken_index": world.save_servable(folder / "broken_index", noise=0.10, broken_index=True),
        "hybrid": world.save_servable(folder / "hybrid", noise=0.10, retrieval="hybrid"),
        "diverged": world.save_servable(folder / "diverged", scores_nan=True),
    }
