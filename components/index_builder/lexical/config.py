"""Settings of the lexical channel."""

from pydantic import Field

from schema.settings import Settings


class LexicalFieldConfig(Settings):
    """What a field of an item counts in lexical scores.

    Attributes:
      weight: what a term of the field counts, beside one of another field; 0 leaves the field out.
      b: how much a long text is discounted: 0 not at all, 1 in full proportion to its length.
    """

    weight: float = Field(1.0, ge=0.0)
    b: float = Field(0.5, ge=0.0, le=1.0)


class LexicalConfig(Settings):
    """How words of a query are found in the words of items; docs/lexical.md.

    Attributes:
      title, brand, category_path: what each field counts.
      text_columns, categorical_columns: what each further column of the catalog counts (`ingest.data.catalog_columns`).
      clicked_queries: what the queries count that led to the item in the training log.
      k1: how soon further occurrences of a term in an item stop adding to its score (BM25's saturation).
      joined_weight: what two neighboring words written as one count ("smart watch" as "smartwatch"), beside a word;
        they match a phrase, and compounds that are written apart.
      similar_words: a query word that no item has stands for this many of the most similar words that items have;
        0 leaves it without any.
      similar_weight: what such a word counts, times its similarity.
      postings_per_term: items that are scored for a query term at most, those first in which it counts most. A catalog
        of no more items than this is searched without loss.
      query_terms: terms of a query that are searched for at most, those first that can count most.
      dense_weight: what the dense score counts in a hybrid answer; the lexical score counts the rest to 1. None chooses
        it when the index is built, on the requests that training kept out for validation.
    """

    title: LexicalFieldConfig = LexicalFieldConfig(weight=2.0)
    brand: LexicalFieldConfig = LexicalFieldConfig()
    category_path: LexicalFieldConfig = LexicalFieldConfig()
    text_columns: LexicalFieldConfig = LexicalFieldConfig(weight=0.5, b=0.75)
    categorical_columns: LexicalFieldConfig = LexicalFieldConfig()
    clicked_queries: LexicalFieldConfig = LexicalFieldConfig(weight=2.0)
    k1: float = Field(1.2, gt=0.0)
    joined_weight: float = Field(0.5, ge=0.0, le=1.0)
    similar_words: int = Field(3, ge=0, le=10)
    similar_weight: float = Field(0.5, gt=0.0, le=1.0)
    postings_per_term: int = Field(30_000, ge=1)
    query_terms: int = Field(16, ge=1, le=64)
    dense_weight: float | None = Field(None, ge=0.0, le=1.0)
