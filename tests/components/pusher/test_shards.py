"""A model in shards, pushed by the real executor, killed at every place where it can be."""

import pytest
import tensorflow as tf
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.pusher import component
from pipeline.runs.tables import pushed_versions
from schema.servable_files import read_shard_map, saved_models
from schema.shards import SHARD_MAP_FILE, ShardMap

SHARDS = 3
NAMES = [f"souk-shard-{shard}-of-{SHARDS}" for shard in range(SHARDS)]
ALL = "souk-in-3-shards"


class Killed(BaseException):
    pass


@pytest.fixture
def serving(tmp_path):
    return tmp_path / "serving"


@pytest.fixture
def push(tmp_path, serving):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    payload = tmp_path / "model" / "Format-Serving"
    folders = tuple(f"shard-{shard}-of-{SHARDS}" for shard in range(SHARDS))
    for shard, folder in enumerate(folders):
        (payload / folder / "variables").mkdir(parents=True)
        (payload / folder / "saved_model.pb").write_text(f"graph {shard}")
        (payload / folder / "variables" / "data").write_text(f"weights {shard}")
    written = ShardMap(items=(5, 4, 3), indexed_items=(5, 4, 2), folders=folders)
    (payload / SHARD_MAP_FILE).write_text(written.to_json())

    def run(blessed=True):
        blessing = standard_artifacts.ModelBlessing()
        blessing.uri = str(tmp_path / "blessing")
        blessing.set_int_custom_property("blessed", int(blessed))
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        destination = pusher_pb2.PushDestination()
        destination.filesystem.base_directory = str(serving / "souk")
        component.Executor().Do(
            {"model": [model], "model_blessing": [blessing]},
            {"pushed_model": [pushed]},
            {"push_destination": proto_utils.proto_to_json(destination)},
        )
        return pushed

    return run


def versions(serving) -> dict[str, list[str]]:
    """What servers and commands take for a version, by folder."""
    return {
        name: sorted(path.name for path in (serving / name).glob("*") if path.name.isdigit()) for name in [*NAMES, ALL]
    }


def test_shards_get_the_same_version_and_the_map_locates_them(push, serving):
    pushed = push()
    version = pushed.get_string_custom_property("pushed_version")
    assert versions(serving) == {name: [version] for name in [*NAMES, ALL]}
    whole = serving / ALL / version
    assert pushed.get_string_custom_property("pushed_destination") == str(whole)
    assert [path.name for path in whole.iterdir()] == [SHARD_MAP_FILE]
    assert read_shard_map(str(whole)).indexed_items == (5, 4, 2)
    assert saved_models(str(whole)) == [str(serving / name / version) for name in NAMES]
    for shard, name in enumerate(NAMES):
        assert (serving / name / version / "saved_model.pb").read_text() == f"graph {shard}"
        assert (serving / name / version / "variables" / "data").read_text() == f"weights {shard}"
    assert pushed_versions(str(serving / ALL)) == [version]
    assert [path.name for path in (serving / ALL).iterdir()] == [version]


def test_an_unblessed_model_is_not_pushed(push, serving):
    assert push(blessed=False).get_int_custom_property("pushed") == 0
    assert not serving.exists()


@pytest.mark.parametrize("moved", range(SHARDS + 1))
def test_a_push_killed_amid_renames_is_no_version_then_cleared(push, serving, monkeypatch, moved):
    """`moved` renames are done when the process ends; the last one of all is that of the map."""
    first = push().get_string_custom_property("pushed_version")
    rename, done = tf.io.gfile.rename, []

    def rename_or_die(source, target, *rest, **options):
        if len(done) == moved:
            raise Killed
        done.append(target)
        rename(source, target, *rest, **options)

    with monkeypatch.context() as context:
        context.setattr(tf.io.gfile, "rename", rename_or_die)
        with pytest.raises(Killed):
            push()
    found = versions(serving)
    # What counts as pushed is the first version alone; every folder that servers watch still has it.
    assert found[ALL] == [first]
    assert all(first in found[name] for name in NAMES)
    assert [len(found[name]) for name in NAMES] == [2] * moved + [1] * (SHARDS - moved)

    again = push().get_string_custom_property("pushed_version")
    assert int(again) > int(first)
    # A version that all shards have is used, though no map names it; it does not go away under those who use it.
    kept = found[NAMES[0]] if moved == SHARDS else [first]
    assert versions(serving) == {**{name: [*kept, again] for name in NAMES}, ALL: [first, again]}
    assert all((serving / name / again / "variables" / "data").exists() for name in NAMES)


def test_a_new_version_is_newer_than_any_of_any_shard(push, serving):
    for name in (ALL, NAMES[1]):
        (serving / name / "9999999999").mkdir(parents=True)
    assert push().get_string_custom_property("pushed_version") == "10000000000"
    assert (serving / NAMES[1] / "9999999999").exists()
