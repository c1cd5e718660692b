"""Settings of the transform step."""

from pydantic import Field

from schema.settings import Settings


class TransformConfig(Settings):
    """How text becomes ids.

    Attributes:
      unigram_vocabulary: most unigrams kept; rarer ones share hash buckets.
      bigram_vocabulary: most bigrams kept.
      phrase_vocabulary: most phrases (2 to 4 units) in the segmentation lexicon.
      min_term_count: a unigram seen less often is out of vocabulary. Of a catalog's words many stand in one title
        alone, and a query may well be for that one.
      min_bigram_count: a bigram seen less often is out of vocabulary.
      min_phrase_count: a phrase seen less often is not in the lexicon.
      phrase_penalty: how much likelier than chance, in nats per join, units must occur together before the
        segmentation keeps them as one phrase. 3.0 means 20 times.
      fold_plurals: whether English plurals count as their singular, in queries, titles and attributes alike.
      max_query_units: a query is cut after this many units.
      max_title_units: a title is cut after this many units, and so are the words of all categorical columns together.
      max_text_units: each further text column of the catalog is cut after this many units.
      max_query_subwords: n-grams read of a query; those of its first words.
      max_title_subwords: n-grams read of a title; those of its first words.
    """

    unigram_vocabulary: int = Field(100_000, ge=1)
    bigram_vocabulary: int = Field(200_000, ge=1)
    phrase_vocabulary: int = Field(50_000, ge=1)
    min_term_count: int = Field(1, ge=1)
    min_bigram_count: int = Field(2, ge=1)
    min_phrase_count: int = Field(5, ge=1)
    phrase_penalty: float = Field(3.0, ge=0.0)
    fold_plurals: bool = True
    max_query_units: int = Field(48, ge=1)
    max_title_units: int = Field(64, ge=1)
    max_text_units: int = Field(256, ge=1)
    max_query_subwords: int = Field(48, ge=1)
    max_title_subwords: int = Field(160, ge=1)
