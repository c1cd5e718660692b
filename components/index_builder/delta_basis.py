"""What a delta index takes from the full one so that the scores of both can be compared, kept beside the servable."""

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.index_builder.config import IndexConfig
from components.index_builder.lexical.lexicon import Lexicon
from components.index_builder.lexical.postings import Floats, Longs, Postings
from components.index_builder.lexical.similar import Words
from schema.settings import InputError

_ARRAYS: Final = "statistics.npz"
_SETTINGS: Final = "settings.json"


@dataclass(frozen=True)
class DeltaBasis:
    """Settings and statistics of a full index.

    Attributes:
      config: how the catalog was indexed.
      fingerprints, idf, most: [terms], the dictionary; see `Postings`.
      words: of the dictionary, to find similar ones.
      count: how many items were indexed.
      average_lengths: of the fields, in words.
      fold_plurals, longest_vector, dense_weight: as in `Lexicon`.
      clicked_queries: by item id, the queries that led to it, a line for each.
    """

    config: IndexConfig
    fingerprints: Longs
    idf: Floats
    most: Floats
    words: Words
    count: int
    average_lengths: Mapping[str, float]
    fold_plurals: bool
    longest_vector: float
    dense_weight: float
    clicked_queries: Mapping[bytes, bytes]

    def rebased(self, own: Postings) -> Postings:
        """Posting lists with the full index's statistics in place of their own.

        A term that the full index lacks counts as rare as it is among all items of both.

        Args:
          own: of the delta's items, built with `average_lengths`.
        """
        terms = np.union1d(self.fingerprints, own.fingerprints)
        of_full, of_own = (np.searchsorted(terms, known) for known in (self.fingerprints, own.fingerprints))
        found = np.diff(own.starts)[:-1]
        count = max(self.count, own.count)
        idf, most = np.zeros(len(terms), np.float32), np.zeros(len(terms), np.float32)
        idf[of_own], most[of_own] = np.log1p((count - found + 0.5) / (found + 0.5)), own.most
        idf[of_full], most[of_full] = self.idf, self.most
        counts = np.zeros(len(terms) + 1, np.int32)
        counts[of_own] = found
        return replace(
            own,
            fingerprints=terms,
            idf=idf,
            most=most,
            # Both dictionaries ascend, so the lists stay in their order.
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            words=replace(self.words, terms=of_full[self.words.terms].astype(np.int32)),
        )

    def save(self, directory: str) -> None:
        """Writes the folder."""
        tf.io.gfile.makedirs(directory)
        texts = list(self.clicked_queries.values())
        archive = io.BytesIO()
        np.savez(
            archive,
            fingerprints=self.fingerprints,
            idf=self.idf,
            most=self.most,
            clicked_ids=np.array(list(self.clicked_queries), "S"),
            clicked_texts=np.frombuffer(b"".join(texts), np.uint8),
            clicked_lengths=np.array([len(text) for text in texts], np.int64),
            **{f"words_{one.name}": getattr(self.words, one.name) for one in fields(Words)},
        )
        with tf.io.gfile.GFile(os.path.join(directory, _ARRAYS), "wb") as file:
            file.write(archive.getvalue())
        names = ("count", "average_lengths", "fold_plurals", "longest_vector", "dense_weight")
        settings = {"config": self.config.model_dump(mode="json"), **{name: getattr(self, name) for name in names}}
        # Last: a folder that has it is whole.
        with tf.io.gfile.GFile(os.path.join(directory, _SETTINGS), "w") as file:
            file.write(json.dumps(settings))

    @classmethod
    def load(cls, directory: str) -> "DeltaBasis":
        """Reads what `save` wrote.

        Raises:
          InputError: there is none.
        """
        path = os.path.join(directory, _SETTINGS)
        if not tf.io.gfile.exists(path):
            raise InputError(
                f"{directory} does not hold what a delta index is built from: the full index is of an earlier release "
                "of Souk, or its files are gone. Run `souk refresh` once"
            )
        with tf.io.gfile.GFile(path) as file:
            settings = json.loads(file.read())
        with tf.io.gfile.GFile(os.path.join(directory, _ARRAYS), "rb") as file:
            archive = io.BytesIO(file.read())
        with np.load(archive) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        content, ends = arrays["clicked_texts"].tobytes(), np.cumsum(arrays["clicked_lengths"])
        texts = [content[end - length : end] for end, length in zip(ends, arrays["clicked_lengths"], strict=True)]
        return cls(
            config=IndexConfig.parse(settings.pop("config"), path),
            words=Words(**{one.name: arrays[f"words_{one.name}"] for one in fields(Words)}),
            clicked_queries=dict(zip(arrays["clicked_ids"].tolist(), texts, strict=True)),
            **{name: arrays[name] for name in ("fingerprints", "idf", "most")},
            **settings,
        )


def basis_of(lexicon: Lexicon, item_ids: NDArray[np.bytes_] | Sequence[bytes], config: IndexConfig) -> DeltaBasis:
    """The basis of an index that finds the items `item_ids` by `lexicon`."""
    postings = lexicon.postings
    return DeltaBasis(
        config=config,
        fingerprints=postings.fingerprints,
        idf=postings.idf,
        most=postings.most,
        words=postings.words,
        count=postings.count,
        average_lengths=postings.average_lengths,
        fold_plurals=lexicon.fold_plurals,
        longest_vector=lexicon.longest_vector,
        dense_weight=lexicon.dense_weight,
        clicked_queries={bytes(i): text for i, text in zip(item_ids, lexicon.clicked_queries, strict=True) if text},
    )
