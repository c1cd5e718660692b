import shutil
from pathlib import Path

import pytest
from tfx.orchestration import metadata as tfx_metadata
from tfx.orchestration.portable import cache_utils
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

from pipeline import local_runner
from pipeline.relocation import follow_move, keys_without, replace_path
from pipeline.runs import metadata
from tests.pipeline.steps import two_steps


@pytest.mark.parametrize("text", ["/run", "/run/a", '{"a": "/run", "b": ["/run/x"]}', "x /run, /run/b"])
def test_a_path_and_what_is_in_it_are_replaced(text):
    assert replace_path(text, "/run", "/to") == text.replace("/run", "/to")


@pytest.mark.parametrize("text", ["/run2/a", "/data/run", "../run", "/run.old", "/run-1", "run"])
def test_other_paths_stay(text):
    assert replace_path(text, "/run", "/to") == text


def test_steps_of_a_moved_root_come_from_cache_unless_changed(tmp_path):
    before, after, alone = tmp_path / "before", tmp_path / "after", tmp_path / "alone"
    before.mkdir()
    alone.mkdir()

    def states(root: Path, text: str) -> list[str]:
        local_runner.run_dag(two_steps(str(root), "", text), root / "run.log", [str(root)])
        return [step.state for step in metadata.read_runs(f"{root}/metadata.sqlite", "two")[-1].steps]

    assert states(before, str(before / "file")) == ["done", "done"]
    assert follow_move(f"{before}/metadata.sqlite", str(before)) == ""
    shutil.copy(before / "metadata.sqlite", alone)
    assert follow_move(f"{alone}/metadata.sqlite", str(alone)) == "", "its artifacts are where they were"
    before.rename(after)
    assert follow_move(f"{after}/metadata.sqlite", str(after)) == str(before)
    assert follow_move(f"{after}/metadata.sqlite", str(after)) == ""
    assert states(after, str(after / "file")) == ["cached", "cached"]
    assert states(after, str(after / "other")) == ["done", "done"]


def test_beams_arguments_are_no_part_of_a_key_and_the_step_is(tmp_path):
    connection = tfx_metadata.sqlite_metadata_connection_config(f"{tmp_path}/metadata.sqlite")
    with keys_without([]), tfx_metadata.Metadata(connection) as store:

        def key(step: str, arguments: list[str]) -> str:
            spec = executable_spec_pb2.BeamExecutableSpec(beam_pipeline_args=arguments)
            spec.python_executor_spec.class_path = step
            return cache_utils.get_cache_context(
                metadata_handle=store,
                pipeline_node=pipeline_pb2.PipelineNode(),
                pipeline_info=pipeline_pb2.PipelineInfo(id="shop"),
                executor_spec=spec,
            ).name

        assert key("a", []) == key("a", ["--direct_num_workers=2"]) != key("b", [])


def test_a_root_without_metadata_was_nowhere_before(tmp_path):
    assert follow_move(f"{tmp_path}/metadata.sqlite", str(tmp_path)) == ""
    (tmp_path / "metadata.sqlite").touch()
    assert follow_move(f"{tmp_path}/metadata.sqlite", str(tmp_path)) == ""
