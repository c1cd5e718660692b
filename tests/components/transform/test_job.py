from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.transform import job
from components.transform.job import transform_splits
from schema.transformed import BRANDS, ITEM_IDS, UNIGRAMS
from tests.components.transform import tokens_oracle
from tests.small_shop import CONFIG, MORE_CATALOG, MORE_SEARCHES, raw_feature_spec, write_examples

SPEC = raw_feature_spec()
# By split and file.
RAW: Mapping[str, Mapping[str, list[dict[str, list]]]] = {
    "train": {"a.gz": MORE_SEARCHES[:100], "b.gz": [], "c.gz": MORE_SEARCHES[100:]},
    "catalog": {"part.gz": MORE_CATALOG},
    "eval": {},
}


def records(file: Path) -> tf.Tensor:
    return tf.constant([record.numpy() for record in tf.data.TFRecordDataset(str(file), "GZIP")], tf.string)


def most_frequent_first(tokens: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """How TFT orders a vocabulary."""
    return sorted(((count, token) for token, count in Counter(tokens).items()), reverse=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `raw` and `ids` with a folder for each split, and `graph`."""
    folder = tmp_path_factory.mktemp("transform")
    for split, files in RAW.items():
        (folder / "raw" / split).mkdir(parents=True)
        for name, rows in files.items():
            write_examples(folder / "raw" / split / name, rows)
    with pytest.MonkeyPatch.context() as patch, beam.Pipeline(runner="FnApiRunner") as pipeline:
        # So small that a file has many batches, which must come out in order.
        patch.setattr(job, "_BATCH", 16)
        transform_splits(
            pipeline,
            tft.DatasetMetadata.from_feature_spec(SPEC).schema,
            CONFIG,
            analyzed=[str(folder / "raw" / split) for split in ("train", "catalog")],
            splits={str(folder / "raw" / split): str(folder / "ids" / split) for split in RAW},
            graph_dir=str(folder / "graph"),
            scratch=str(folder / "graph" / ".unfinished"),
        )
    return folder


def test_vocabularies_are_counted_over_all_analyzed_files(folder: Path) -> None:
    texts = [row["query"][0] for row in MORE_SEARCHES]
    for row in MORE_CATALOG:
        texts += [row["title"][0], b" ".join([*row["brand"], *row["category_path"]])]
    units = [unit.encode() for text in texts for unit in tokens_oracle.units(text, CONFIG.fold_plurals)]
    expected = {
        UNIGRAMS: [b"%d %s" % counted for counted in most_frequent_first(units)],
        BRANDS: [token for _, token in most_frequent_first(row["brand"][0] for row in MORE_CATALOG)],
        ITEM_IDS: [token for _, token in most_frequent_first(row["item_id"][0] for row in MORE_CATALOG)],
    }
    learned = tft.TFTransformOutput(str(folder / "graph"))
    for vocabulary, lines in expected.items():
        assert learned.vocabulary_by_name(vocabulary.name) == lines
        assert learned.vocabulary_size_by_name(vocabulary.name) == len(lines)


def test_a_file_holds_what_the_graph_makes_of_its_source(folder: Path) -> None:
    learned = tft.TFTransformOutput(str(folder / "graph"))
    layer, spec = learned.transform_features_layer(), learned.transformed_feature_spec()
    for split, files in RAW.items():
        targets = sorted((folder / "ids" / split).iterdir())
        of = f"of-{len(files):05d}.gz"
        assert [target.name for target in targets] == [f"transformed_examples-{n:05d}-{of}" for n in range(len(files))]
        for target, name in zip(targets, files, strict=True):
            raw, examples = records(folder / "raw" / split / name), records(target)
            assert len(examples) == len(raw)
            if not len(raw):
                continue
            made, written = layer(tf.io.parse_example(raw, SPEC)), tf.io.parse_example(examples, spec)
            for feature, sparse in written.items():
                assert sparse.indices.numpy().tolist() == made[feature].indices.numpy().tolist(), feature
                assert sparse.values.numpy().tolist() == made[feature].values.numpy().tolist(), feature
