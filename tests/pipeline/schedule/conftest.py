from pathlib import Path

import pytest

from tests.pipeline.compiled_graph import cluster_config


def compiled(folder: Path, kind: str) -> Path:
    from pipeline.compilation import compile_job, write_job

    path = folder / f"{kind}.yaml"
    write_job(compile_job(cluster_config("name=shop"), "kubeflow", kind=kind), path, "kubeflow")
    return path


@pytest.fixture(scope="session")
def nightly_file(tmp_path_factory):
    """The pipeline that trains, compiled."""
    return compiled(tmp_path_factory.mktemp("compiled"), "run")


@pytest.fixture(scope="session")
def hourly_file(nightly_file):
    """The pipeline that refreshes the catalog, compiled."""
    return compiled(nightly_file.parent, "refresh")
