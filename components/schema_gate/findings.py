"""What the gate found, for people; reads what it wrote without TensorFlow, so that `souk status` stays quick."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tensorflow_metadata.proto.v0 import anomalies_pb2

Anomalies: TypeAlias = anomalies_pb2.Anomalies

# The file name of TFX's ExampleValidator.
ANOMALIES_FILE: Final = "SchemaDiff.pb"


@dataclass(frozen=True)
class Finding:
    """One anomaly of one feature in one split.

    Attributes:
      split: `train`, `eval` or `catalog`.
      feature: the feature's name, or "" for the split as a whole.
      is_error: an error stops the run, a warning is only reported.
      kind: TFDV's names of the anomaly's types, joined by ", ".
      message: what was found.
    """

    split: str
    feature: str
    is_error: bool
    kind: str
    message: str


def find(anomalies: Mapping[str, Anomalies]) -> list[Finding]:
    """Every anomaly of every split, errors first."""
    found = []
    for split, split_anomalies in anomalies.items():
        infos = [*split_anomalies.anomaly_info.items()]
        if split_anomalies.HasField("dataset_anomaly_info"):
            infos.append(("", split_anomalies.dataset_anomaly_info))
        if split_anomalies.data_missing:
            found.append(Finding(split, "", True, "DATA_MISSING", "The split has no examples."))
        for feature, info in infos:
            kinds = [anomalies_pb2.AnomalyInfo.Type.Name(reason.type) for reason in info.reason]
            found.append(
                Finding(
                    split=split,
                    feature=feature,
                    is_error=info.severity != anomalies_pb2.AnomalyInfo.WARNING,
                    kind=", ".join(kinds),
                    message=info.description or info.short_description,
                )
            )
    return sorted(found, key=lambda finding: (not finding.is_error, finding.split, finding.feature))


def describe(findings: list[Finding]) -> str:
    """The findings as one line of text each, for a log or an error message."""
    return "\n".join(
        f"{'error' if finding.is_error else 'warning'}: {finding.split}"
        f"{' ' + finding.feature if finding.feature else ''}: {finding.message} ({finding.kind})"
        for finding in findings
    )


def refused_directory(anomalies_uri: str) -> str:
    """Where the anomalies of a refused run are kept; `anomalies_uri` is `<node>/anomalies/<execution id>`."""
    output_directory, _, execution_id = anomalies_uri.rstrip("/").rpartition("/")
    return f"{output_directory.rpartition('/')[0]}/refused/{execution_id}"


def read_anomalies(directory: str) -> dict[str, Anomalies]:
    """What the gate wrote to an anomalies artifact or to a refused directory on this machine, by split."""
    return {
        path.parent.name.removeprefix("Split-"): Anomalies.FromString(path.read_bytes())
        for path in sorted(Path(directory).glob(f"Split-*/{ANOMALIES_FILE}"))
    }
