import copy
import json

import pytest
import yaml

from tests.pipeline.compiled_graph import cluster_config


@pytest.fixture(scope="session")
def nightly_file(tmp_path_factory):
    """The pipeline that trains, compiled."""
    from pipeline.compilation import compile_job, write_job

    path = tmp_path_factory.mktemp("compiled") / "shop.yaml"
    write_job(compile_job(cluster_config("name=shop"), "kubeflow"), path, "kubeflow")
    return path


@pytest.fixture(scope="session")
def hourly_file(nightly_file):
    """The same pipeline without its training, which is all that tells a refresh."""
    spec = copy.deepcopy(yaml.load(nightly_file.read_text(), Loader=yaml.CSafeLoader))
    del spec["root"]["dag"]["tasks"]["Trainer"]
    path = nightly_file.with_name("refresh.yaml")
    path.write_text(json.dumps(spec))
    return path
