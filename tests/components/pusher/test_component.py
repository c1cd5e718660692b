import pytest
from tfx.components.pusher import executor as stock_executor
from tfx.utils import io_utils

from components.pusher import component, shards


def versions(tmp_path):
    return sorted(path.name for path in (tmp_path / "serving").iterdir())


def test_a_blessed_model_becomes_one_whole_version(push, tmp_path):
    pushed = push()
    version = pushed.get_string_custom_property("pushed_version")
    assert versions(tmp_path) == [version]
    folder = tmp_path / "serving" / version
    assert pushed.get_string_custom_property("pushed_destination") == str(folder)
    assert pushed.get_int_custom_property("pushed") == 1
    assert (folder / "saved_model.pb").read_text() == "graph"
    assert (folder / "variables/data").read_text() == "weights"
    assert (folder / "assets.extra/souk.json").read_text() == "{}"


def test_the_destination_may_be_a_path_as_on_a_cluster(push, tmp_path):
    pushed = push(destination=str(tmp_path / "serving"))
    assert versions(tmp_path) == [pushed.get_string_custom_property("pushed_version")]


def test_an_unblessed_model_is_not_pushed(push, tmp_path):
    pushed = push(blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def test_a_killed_push_leaves_no_version_and_the_next_clears_up(push, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def copy_a_part(source, destination, **_):
        io_utils.write_string_file(f"{destination}/variables/data", "wei")
        raise Killed

    with monkeypatch.context() as context:
        context.setattr(stock_executor.io_utils, "copy_dir", copy_a_part)
        with pytest.raises(Killed):
            push()
    assert shards.newest_version(str(tmp_path / "serving")) == 0
    assert versions(tmp_path) == [component.STAGING]

    version = push().get_string_custom_property("pushed_version")
    assert versions(tmp_path) == [version]
    assert (tmp_path / "serving" / version / "variables/data").read_text() == "weights"


def test_a_new_version_is_newest_even_if_the_clock_went_back(push, tmp_path):
    (tmp_path / "serving" / "9999999999").mkdir(parents=True)
    assert push().get_string_custom_property("pushed_version") == "10000000000"
    assert push().get_string_custom_property("pushed_version") == "10000000001"
