"""The report of a run: the page of its evaluation with what came of the whole run."""

import os
from pathlib import Path
from typing import Final

from evaluation.report.render import render_report
from evaluation.results import Evaluation
from pipeline.runs.collect import read_local
from pipeline.runs.outcome import RunOutcome
from pipeline.runs.page import canary_facts
from schema.artifacts import EVALUATION_FILE
from schema.file_errors import naming
from schema.settings import InputError

_TEMPLATE: Final = Path(__file__).parent / "run_report.html"


def evaluation_of(outcome: RunOutcome) -> Evaluation:
    """What the recall gate measured in a run.

    Raises:
      InputError: the run did not come to its evaluation, or that was removed.
    """
    if not outcome.files.evaluation:
        raise InputError(
            f"run {outcome.run} has no evaluation to report on ({outcome.note}); "
            "`souk status` lists the runs, `souk report --run N` takes another one"
        )
    path = os.path.join(outcome.files.evaluation, EVALUATION_FILE)
    text = read_local(path)
    if text is None:
        raise InputError(f"{path} is not there; the artifacts of this run were removed, run the pipeline again")
    return Evaluation.from_json(text, path)


def report_html(outcome: RunOutcome, evaluation: Evaluation) -> str:
    """The report as one HTML page."""
    facts = canary_facts(outcome.canary) if outcome.canary else []
    return render_report(evaluation, _TEMPLATE, run=outcome, canary_facts=facts)


def write_report(outcome: RunOutcome, evaluation: Evaluation, out: Path | None = None) -> Path:
    """Writes the report to `out`, or to its place in the pipeline's root; returns the path.

    Raises:
      InputError: the path cannot be written; a `StorageError` for a full disk.
    """
    html = report_html(outcome, evaluation)
    path = out or Path(outcome.files.report)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    return path
