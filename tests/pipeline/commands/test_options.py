import pytest
from click.testing import CliRunner

from pipeline.cli import main

WRITERS = (
    ["bench", "models", "--config", "tiny", "--out"],
    ["compile", "--config", "tiny", "--target", "kubeflow", "--output"],
    ["export", "vectors", "--config", "tiny", "--to", "parquet", "--out"],
    ["report", "--config", "tiny", "--out"],
    ["schema", "--config", "tiny", "--out"],
    ["simulate", "--preset", "tiny", "--out"],
)


@pytest.mark.parametrize("words", WRITERS, ids=lambda words: words[0])
def test_a_bucket_is_refused_where_a_command_writes(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*words, "gs://shop/x"])
    assert result.exit_code == 2
    assert "gs://shop/x is in a bucket; give a local path" in result.stderr
    assert list(tmp_path.iterdir()) == []
