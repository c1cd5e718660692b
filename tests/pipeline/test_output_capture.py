import logging
import os
import subprocess
import sys
import warnings

from absl import logging as absl_logging

from components.schema_gate import component
from pipeline.output_capture import LatestMessage, captured_output, quiet


def test_all_output_goes_to_the_log_and_the_screen_stays_ours(tmp_path, capfd):
    with captured_output(tmp_path / "logs" / "run.log") as screen:
        print("by print")
        print("by print to stderr", file=sys.stderr)
        os.write(1, b"by descriptor 1\n")
        os.write(2, b"by descriptor 2\n")
        subprocess.run(["echo", "by a child"], check=True)
        logging.getLogger("tfx").info("by a logger")
        absl_logging.info("by absl")
        print("progress", file=screen)
    print("after")
    shown = capfd.readouterr()
    assert shown.err == "progress\n"
    assert shown.out == "after\n"
    log = (tmp_path / "logs" / "run.log").read_text()
    for text in ("by print", "by print to stderr", "by descriptor 1", "by descriptor 2", "by a child"):
        assert f"{text}\n" in log
    assert "INFO tfx: by a logger" in log
    assert "INFO absl: by absl" in log


def test_streams_and_loggers_are_as_before_even_after_an_error(tmp_path):
    before = sys.stdout, sys.stderr, logging.getLogger().handlers[:], logging.getLogger().level
    try:
        with captured_output(tmp_path / "run.log"):
            raise KeyError("broken")
    except KeyError:
        pass
    assert (sys.stdout, sys.stderr, logging.getLogger().handlers[:], logging.getLogger().level) == before


def test_only_the_first_line_of_our_own_messages_is_passed_on():
    shown = []
    handler = LatestMessage(shown.append)
    for path, message in (
        ("/site-packages/tfx/executor.py", "chatter"),
        (component.__file__, "error: train query\nmore"),
    ):
        handler.handle(logging.LogRecord("absl", logging.INFO, path, 1, message, (), None))
    assert shown == ["error: train query"]


def test_imports_are_quiet_and_what_comes_after_is_not(capfd):
    level = logging.root.manager.disable
    with quiet():
        warnings.warn("a library's warning", FutureWarning, stacklevel=1)
        logging.warning("a library's log line")
        absl_logging.warning("another")
    assert capfd.readouterr().err == ""
    assert logging.root.manager.disable == level
