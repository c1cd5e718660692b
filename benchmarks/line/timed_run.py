"""One run of the demo's pipeline in a process of its own, timed step by step; the checkout is that of `PYTHONPATH`.

It stands alone, so that it can also time a checkout that does not have it.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

START_UP = "start-up"


def clock() -> tuple[float, float]:
    """Wall seconds, and processor seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime


def timed(run_node: Callable[[Any], None], spent: dict[str, tuple[float, float]]) -> Callable[[Any], None]:
    """A method of a node that also keeps in `spent` what its step took."""

    def run(node: Any) -> None:
        wall, processor = clock()
        try:
            run_node(node)
        finally:
            ended = clock()
            spent[node._node_id] = (ended[0] - wall, ended[1] - processor)

    return run


def main() -> None:
    """Runs the pipeline on the logs in `data` and writes what each step took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--data", type=Path, required=True, help="folder of the simulated logs")
    parser.add_argument("--root", type=Path, required=True, help="folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="JSON file: [wall, processor] seconds by step")
    parser.add_argument("--up-to-transform", action="store_true")
    arguments = parser.parse_args()
    data = arguments.data
    wall = time.perf_counter()

    # TFX by way of the pipeline, as the command does: what that imports of it is part of the start-up.
    from pipeline import config, local_runner
    from pipeline.pipeline import create_data_pipeline, create_pipeline

    spent: dict[str, tuple[float, float]] = {}
    node_class = local_runner.beam_dag_runner.PipelineNodeAsDoFn
    node_class._run_node = timed(node_class._run_node, spent)
    settings = [
        f"root={arguments.root}",
        f"ingest.data.events={data}/events/*.jsonl.gz",
        f"ingest.data.catalog={data}/catalog.jsonl.gz",
        f"ingest.data.users={data}/users.jsonl.gz",
    ]
    create = create_data_pipeline if arguments.up_to_transform else create_pipeline
    local_runner.run(config.load(arguments.preset, settings), create=create)
    ended = clock()
    # The rest is imports, fingerprints and the summary; processor time counts from the start of the process.
    spent[START_UP] = (
        ended[0] - wall - sum(step[0] for step in spent.values()),
        ended[1] - sum(step[1] for step in spent.values()),
    )
    arguments.out.write_text(json.dumps(spent))


if __name__ == "__main__":
    main()
