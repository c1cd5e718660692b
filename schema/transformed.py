"""What Transform writes and the trainer reads: transformed feature names, vocabularies and id spaces.

Every id feature is a list of int64. A vocabulary of size `V` with `n` out-of-vocabulary buckets gives ids in
`[0, V + n)`; a known term has its line number in the vocabulary file, an unknown one is hashed to a bucket.
A value that is absent stays absent (an empty list). `request_id` alone is passed through as it is: by it, several steps
choose the same requests.
"""

from dataclasses import dataclass
from typing import Final

from schema import features


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary file of the transform graph.

    Attributes:
      name: the file's name, as in `TFTransformOutput.vocabulary_by_name`.
      oov_buckets: how many ids follow the known ones, for terms that are not in the file.
    """

    name: str
    oov_buckets: int = 1


# Text is full of terms unseen in training, hence many buckets; an unseen item, brand or shop is just "unknown".
UNIGRAMS: Final = Vocabulary("unigrams", oov_buckets=1000)
BIGRAMS: Final = Vocabulary("bigrams", oov_buckets=5000)
PHRASES: Final = Vocabulary("phrases", oov_buckets=0)
ITEM_IDS: Final = Vocabulary("items")
BRANDS: Final = Vocabulary("brands")
LEAF_CATEGORIES: Final = Vocabulary("leaf_categories")
TOP_CATEGORIES: Final = Vocabulary("top_categories")
SHOPS: Final = Vocabulary("shops")

# Search features. Segment ids are unigram ids for segments of one unit, and phrase ids shifted by the
# size of the unigram id space for longer ones.
QUERY_UNIGRAMS: Final = "query_unigrams"
QUERY_BIGRAMS: Final = "query_bigrams"
QUERY_SEGMENTS: Final = "query_segments"
# Units of all past queries in one list, and aligned with it which query each is of: 0 for the newest.
HISTORY_QUERY_UNIGRAMS: Final = "history_query_unigrams"
HISTORY_QUERY_INDEX: Final = "history_query_index"
# Character n-grams of the words, hashed to an id space of their own.
QUERY_SUBWORDS: Final = "query_subwords"
SUBWORD_BUCKETS: Final = 65_536
SEARCH_TOKENS: Final = (QUERY_UNIGRAMS, QUERY_BIGRAMS, QUERY_SEGMENTS, QUERY_SUBWORDS, HISTORY_QUERY_UNIGRAMS)

# Behavior lists, outcome lists and hard negatives keep their raw names and hold item rows: ids of ITEM_IDS, where the
# out-of-vocabulary id is the row of the unknown item.
SEARCH_ITEM_ROWS: Final = (*features.BEHAVIOR_ITEM_FEATURES, features.ITEMS, features.HARD_NEGATIVES)

# Catalog features.
ITEM_ROW: Final = "item_row"
TITLE_UNIGRAMS: Final = "title_unigrams"
TITLE_BIGRAMS: Final = "title_bigrams"
TITLE_SEGMENTS: Final = "title_segments"
TITLE_SUBWORDS: Final = "title_subwords"
# Words of brand, category and all categorical columns.
ATTRIBUTE_UNIGRAMS: Final = "attribute_unigrams"
# Words of the queries that led to the item in training, and how many requests have each; the trainer adds them.
CLICKED_UNIGRAMS: Final = "clicked_unigrams"
CLICKED_COUNTS: Final = "clicked_counts"
CLICKED_WORDS: Final = (CLICKED_UNIGRAMS, CLICKED_COUNTS)
PRICE_BUCKET: Final = "price_bucket"
CATALOG_TOKENS: Final = (TITLE_UNIGRAMS, TITLE_BIGRAMS, TITLE_SEGMENTS, TITLE_SUBWORDS, ATTRIBUTE_UNIGRAMS)
CATALOG_CATEGORIES: Final = (
    features.BRAND,
    features.LEAF_CATEGORY,
    features.TOP_CATEGORY,
    features.SHOP,
    PRICE_BUCKET,
)
PRICE_BUCKETS: Final = 64
# Further columns of the catalog keep their raw names. `text_*` holds the distinct unigrams of a text, `categorical_*`
# the id of its first value, `numeric_*` the quantile that the number is in.
NUMERIC_BUCKETS: Final = 32


def column_vocabulary(feature: str) -> Vocabulary:
    """The vocabulary of one `profile_*` or `categorical_*` feature."""
    return Vocabulary(feature)
