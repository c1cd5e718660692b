"""A training that starts from what an earlier model has learned, be it of the same type or of another.

What two models both have (embeddings of tokens, brands, categories and shops, the lexical part, projections of equal
shape) goes over; the rest starts fresh. A vocabulary is learned anew in each run and its ids change, so that embeddings
go over by term.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow_transform as tft
from absl import logging
from numpy.typing import NDArray

from schema import features, transformed
from schema.transformed import Vocabulary
from trainer.artifact import TrainedModel
from trainer.models.towers import Towers

_TOKENS = (transformed.UNIGRAMS, transformed.BIGRAMS, transformed.PHRASES)
_FIELDS = {
    transformed.ITEM_ROW: transformed.ITEM_IDS,
    features.BRAND: transformed.BRANDS,
    features.LEAF_CATEGORY: transformed.LEAF_CATEGORIES,
    features.TOP_CATEGORY: transformed.TOP_CATEGORIES,
    features.SHOP: transformed.SHOPS,
}


@dataclass(frozen=True)
class WarmStart:
    """What went over.

    Attributes:
      model: type of the earlier model.
      whole: paths of weights that went over as they were.
      by_term: by path of an embedding matrix, the share of its ids that the earlier model knew.
      fresh: paths of weights for which the earlier model had nothing, or something of another shape.
    """

    model: str
    whole: tuple[str, ...]
    by_term: Mapping[str, float]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        by_term = ", ".join(f"{path} ({share:.0%} of its ids)" for path, share in self.by_term.items())
        return (
            f"warm start from {self.model}: {len(self.whole)} weights taken over; by term {by_term or 'none'}; "
            f"fresh {', '.join(self.fresh) or 'none'}"
        )


def start_from(towers: Towers, transform: tft.TFTransformOutput, earlier: TrainedModel) -> WarmStart:
    """Gives towers what they have in common with an earlier model.

    Args:
      towers: built, with fresh weights.
      transform: graph and vocabularies of the data that they are to be trained on.
      earlier: any trained model.
    """
    theirs = earlier.towers.variables_by_path()
    whole, by_term, fresh = [], {}, []
    for path, variable in towers.variables_by_path().items():
        found, vocabularies = theirs.get(path), _vocabularies(path)
        # A text encoder's vectors of two vocabularies have no axes in common.
        if path.startswith("encoded/"):
            continue
        if found is None or found.shape[1:] != variable.shape[1:]:
            fresh.append(path)
        elif vocabularies:
            rows = _earlier_rows(vocabularies, transform, earlier.transform)[: variable.shape[0]]
            # The tokens of a model without segments end before the phrases.
            known = (rows >= 0) & (rows < found.shape[0])
            values = variable.numpy()
            values[known] = found.numpy()[rows[known]]
            variable.assign(values)
            by_term[path] = float(known[1:].mean())
        elif found.shape == variable.shape:
            variable.assign(found)
            whole.append(path)
        else:
            fresh.append(path)
    result = WarmStart(earlier.config.model, tuple(whole), by_term, tuple(fresh))
    logging.info("%s", result)
    return result


def _vocabularies(path: str) -> Sequence[Vocabulary]:
    """Whose ids the rows of a matrix are, one vocabulary after the other; none where they are not ids of one."""
    part, _, rest = path.partition("/")
    name = rest.partition("/")[0]
    if part == "tokens" or path.startswith("lexical/_weights/tokens/"):
        return _TOKENS
    if part == "item_fields" and name in _FIELDS:
        return [_FIELDS[name]]
    if part == "profile_fields" or name.startswith(features.CATEGORICAL_PREFIX):
        return [transformed.column_vocabulary(name)]
    return ()


def _earlier_rows(
    vocabularies: Sequence[Vocabulary], transform: tft.TFTransformOutput, earlier: tft.TFTransformOutput
) -> NDArray[np.int64]:
    """For each row of an embedding matrix the earlier matrix's row of the same term, -1 where it had none."""
    # Row 0 is padding.
    rows, start = [0], 1
    for vocabulary in vocabularies:
        terms = earlier.vocabulary_by_name(vocabulary.name)
        places = {term: start + place for place, term in enumerate(terms)}
        rows += [places.get(term, -1) for term in transform.vocabulary_by_name(vocabulary.name)]
        end = start + len(terms)
        # An unknown term has its bucket by its hash alone, whatever else there is.
        rows += range(end, end + vocabulary.oov_buckets)
        start = end + vocabulary.oov_buckets
    return np.array(rows)
