import os
import signal
import subprocess
import sys

import pytest

from pipeline.run_lock import run_lock
from schema.settings import InputError


def test_a_second_run_in_a_root_is_refused_and_told_the_holder(tmp_path):
    with run_lock(str(tmp_path)):
        with pytest.raises(InputError, match=rf"another run \(process {os.getpid()}\)"), run_lock(str(tmp_path)):
            pass
        with run_lock(str(tmp_path / "other")):
            pass
    with run_lock(str(tmp_path)):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    program = (
        "import time; from pipeline.run_lock import run_lock\n"
        f"with run_lock({str(tmp_path)!r}): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holder.pid}"), run_lock(str(tmp_path)):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with run_lock(str(tmp_path)):
        pass


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot hold a run"), run_lock(str(tmp_path / "file")):
        pass


def test_a_bucket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"need a local folder.*`souk compile`"), run_lock("gs://shop/souk"):
        pass
    assert list(tmp_path.iterdir()) == []
