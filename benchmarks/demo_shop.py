"""The simulated logs that benchmarks share, written once per folder, and the pipeline's runs on them."""

from collections.abc import Sequence
from pathlib import Path

from marketplace.presets import choose_settings
from marketplace.simulation import simulate

# Step and output, as `run_demo` is asked for them.
EXAMPLES, MODEL, SERVABLE = ("SoukExampleGen", "examples"), ("Trainer", "model"), ("IndexBuilder", "servable")


def simulate_once(preset: str, folder: Path, catalog: str | None = None) -> None:
    """Simulates a preset into `folder`, unless it is there already."""
    if not (folder / "shop.json").exists():
        simulate(choose_settings(preset, catalog, seed=0), folder)


def run_demo(folder: Path, settings: Sequence[str], outputs: Sequence[tuple[str, str]]) -> list[Path]:
    """Runs the pipeline on the demo shop's logs; unchanged steps come from cache.

    Args:
      folder: of logs and run.
      settings: `key=value` words beside the preset's own.
      outputs: which outputs to return.

    Returns:
      The folder of each of `outputs`; each run of a step has one of its own.
    """
    from pipeline import config, local_runner

    data = folder / "data"
    simulate_once("demo", data)
    own = [
        "name=bench",
        f"root={folder}",
        f"ingest.data.events={data}/events/*.jsonl.gz",
        f"ingest.data.catalog={data}/catalog.jsonl.gz",
        f"ingest.data.users={data}/users.jsonl.gz",
    ]
    ended = local_runner.run(config.load("demo", [*own, *settings]))
    found = []
    for step, name in outputs:
        output = ended.output(step, name)
        if output is None:
            raise SystemExit(f"the run did not get as far as {step}; see its log under {folder}")
        found.append(Path(output.uri))
    return found
