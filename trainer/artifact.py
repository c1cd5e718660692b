"""The trained model on disk: what the Trainer hands to the index builder.

<dir>/trainer.json     settings of the model, sizes of its vocabularies, the share of requests kept for validation
<dir>/weights.*        a TensorFlow checkpoint of the towers
<dir>/item_table.npz   the catalog that it was trained with
<dir>/transform/       the transform graph whose ids it speaks
<dir>/query_understanding.npz  what query terms say of brand and category; models of before it was learned lack it
<dir>/history.json     loss, recall@k and speed by epoch
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schema.settings import InputError
from trainer.config import TrainerConfig
from trainer.input import SearchReader
from trainer.item_table import ItemTable
from trainer.models import REGISTRY, InputSizes, Towers
from trainer.query_understanding import QueryUnderstanding

_SETTINGS = "trainer.json"
_WEIGHTS = "weights"
_ITEM_TABLE = "item_table.npz"
_TRANSFORM = "transform"
_HISTORY = "history.json"
_UNDERSTANDING = "query_understanding.npz"


@dataclass(frozen=True)
class TrainedModel:
    """Towers with all they need to encode.

    Attributes:
      config: how they were trained.
      sizes: vocabulary sizes.
      towers: with trained weights.
      table: the catalog.
      transform: the transform graph.
      history: by metric, a value per epoch.
      understanding: what query terms say of brand and category, for relevance control; None where it was not learned.
      validation_share: share of the train split's requests that was kept out of training (`input.in_validation`); None
        for models of before it was recorded.
    """

    config: TrainerConfig
    sizes: InputSizes
    towers: Towers
    table: ItemTable
    transform: tft.TFTransformOutput
    history: Mapping[str, Sequence[float]]
    understanding: QueryUnderstanding | None = None
    validation_share: float | None = None


def make_towers(config: TrainerConfig, sizes: InputSizes) -> Towers:
    """Towers of the configured model, with fresh weights."""
    return REGISTRY[config.model](config, sizes, name=config.model)


def build(towers: Towers, reader: SearchReader, table: ItemTable) -> None:
    """Creates the towers' variables by encoding one empty request and the unknown item."""
    query = {name: tf.zeros([1, width], tf.int32) for name, width in reader.query_widths().items()}
    columns = {name: tf.constant(column[-1:]) for name, column in table.columns.items()}
    towers.encode_query(query, columns)
    towers.encode_items(columns)


def save(model: TrainedModel, directory: str) -> None:
    """Writes the model; see the module's docstring for the layout."""
    tf.io.gfile.makedirs(directory)
    tf.train.Checkpoint(towers=model.towers).write(os.path.join(directory, _WEIGHTS))
    model.table.save(os.path.join(directory, _ITEM_TABLE))
    transform = os.path.dirname(model.transform.transform_savedmodel_dir.rstrip("/"))
    for name in ("transform_fn", "metadata", "transformed_metadata"):
        _copy_folder(os.path.join(transform, name), os.path.join(directory, _TRANSFORM, name))
    _write_json(os.path.join(directory, _HISTORY), {name: list(values) for name, values in model.history.items()})
    if model.understanding is not None:
        model.understanding.save(os.path.join(directory, _UNDERSTANDING))
    # Last, because `load` starts with it: a directory that has it is whole.
    _write_json(
        os.path.join(directory, _SETTINGS),
        {
            "config": model.config.model_dump(mode="json"),
            "sizes": asdict(model.sizes),
            "validation_share": model.validation_share,
        },
    )


def load(directory: str) -> TrainedModel:
    """Reads what `save` wrote.

    Raises:
      InputError: where the directory holds no whole model.
    """
    settings_file = os.path.join(directory, _SETTINGS)
    if not tf.io.gfile.exists(settings_file):
        raise InputError(
            f"{directory} holds no trained model: {_SETTINGS} is missing. Pass the `Format-Serving` folder of a "
            "Trainer's output; if its run was killed, run the pipeline again"
        )
    settings = _read_json(settings_file)
    config = TrainerConfig.parse(settings["config"], settings_file)
    sizes = InputSizes(**settings["sizes"])
    table = ItemTable.load(os.path.join(directory, _ITEM_TABLE))
    towers = make_towers(config, sizes)
    build(towers, SearchReader(config, tuple(sizes.profile)), table)
    understanding = os.path.join(directory, _UNDERSTANDING)
    checkpoint = tf.train.Checkpoint(towers=towers)
    checkpoint.read(os.path.join(directory, _WEIGHTS)).assert_existing_objects_matched().expect_partial()
    return TrainedModel(
        config=config,
        sizes=sizes,
        towers=towers,
        table=table,
        transform=tft.TFTransformOutput(os.path.join(directory, _TRANSFORM)),
        history=_read_json(os.path.join(directory, _HISTORY)),
        understanding=QueryUnderstanding.load(understanding) if tf.io.gfile.exists(understanding) else None,
        validation_share=settings.get("validation_share"),
    )


def _copy_folder(source: str, target: str) -> None:
    for folder, _, names in tf.io.gfile.walk(source):
        copied = os.path.join(target, os.path.relpath(folder, source)) if folder.rstrip("/") != source else target
        tf.io.gfile.makedirs(copied)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), os.path.join(copied, name), overwrite=True)


def _write_json(path: str, values: Any) -> None:
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(values, indent=1))


def _read_json(path: str) -> Any:
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read())
