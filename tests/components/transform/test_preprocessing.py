import tensorflow as tf

from schema import features, transformed
from tests.small_shop import ALL_CATALOG, CATALOG, SEARCHES, raw_feature_spec


def terms(rows, output, row, feature, vocabulary):
    known = [term.split(b" ")[-1].decode() for term in output.vocabulary_by_name(vocabulary.name)]
    return [known[i] for i in rows[row][feature]]


def test_queries_and_titles_share_token_ids(transformed_shop):
    rows, output = transformed_shop
    assert terms(rows, output, 0, transformed.QUERY_UNIGRAMS, transformed.UNIGRAMS) == [
        "new",
        "york",
        "shoe",
    ]
    assert terms(rows, output, 4, transformed.TITLE_UNIGRAMS, transformed.UNIGRAMS) == [
        "new",
        "york",
        "running",
        "shoe",
        "men",
    ]
    assert rows[0][transformed.QUERY_UNIGRAMS][:2] == rows[4][transformed.TITLE_UNIGRAMS][:2]


def test_bigrams_carry_head_and_tail_marks(transformed_shop):
    rows, output = transformed_shop
    assert terms(rows, output, 3, transformed.QUERY_BIGRAMS, transformed.BIGRAMS) == ["^_手", "手_机", "机_$"]


def test_segments_are_phrases_of_the_learned_lexicon(transformed_shop):
    rows, output = transformed_shop
    unigram_space = output.vocabulary_size_by_name(transformed.UNIGRAMS.name) + transformed.UNIGRAMS.oov_buckets
    lexicon = [line.split(b" ")[1].decode() for line in output.vocabulary_by_name(transformed.PHRASES.name)]
    new_york, shoes = rows[0][transformed.QUERY_SEGMENTS]
    assert lexicon[new_york - unigram_space] == "new_york"
    assert shoes == rows[0][transformed.QUERY_UNIGRAMS][2]
    (red_phone,) = rows[2][transformed.QUERY_SEGMENTS]
    assert lexicon[red_phone - unigram_space] == "红_色_手_机"


def test_history_queries_become_one_list_of_unigrams(transformed_shop):
    rows, output = transformed_shop
    assert terms(rows, output, 1, transformed.HISTORY_QUERY_UNIGRAMS, transformed.UNIGRAMS) == [
        "red",
        "hat",
        "shoe",
    ]


def test_outcomes_stay_aligned_and_foreign_items_are_unknown(transformed_shop):
    rows, output = transformed_shop
    row_of = {item: row for row, item in enumerate(output.vocabulary_by_name(transformed.ITEM_IDS.name))}
    assert rows[0][features.ITEMS] == [row_of[b"a"], len(ALL_CATALOG)]
    assert rows[0][features.STAGES] == [3, 1]
    assert rows[1][features.REAL_TIME_ITEMS] == [row_of[b"b"], row_of[b"a"]]
    assert rows[4][transformed.ITEM_ROW] == [row_of[b"a"]]


def test_hard_negatives_become_item_rows_or_stay_absent(transformed_shop):
    rows, output = transformed_shop
    row_of = {item: row for row, item in enumerate(output.vocabulary_by_name(transformed.ITEM_IDS.name))}
    assert rows[0][features.HARD_NEGATIVES] == [row_of[b"c"], row_of[b"b"]]
    assert features.HARD_NEGATIVES not in rows[1]


def test_price_buckets_are_quarter_octaves(transformed_shop):
    rows, _ = transformed_shop
    assert rows[4][transformed.PRICE_BUCKET] == [17]
    assert rows[5][transformed.PRICE_BUCKET] == [0]
    assert transformed.PRICE_BUCKET not in rows[6]


def test_what_is_absent_stays_absent(transformed_shop):
    rows, _ = transformed_shop
    assert not set(rows[3]) & {*transformed.CATALOG_TOKENS, *transformed.CATALOG_CATEGORIES}
    assert not set(rows[5]) & {*transformed.SEARCH_TOKENS, features.BRAND, features.SHOP}


def test_serving_from_search_features_alone_equals_training(transformed_shop):
    rows, output = transformed_shop
    spec = raw_feature_spec()
    names = [name for name in spec if name not in CATALOG[0] or name in SEARCHES[0]]
    layer = output.transform_features_layer()
    raw = {
        name: tf.RaggedTensor.from_row_lengths(
            tf.constant([v for row in SEARCHES for v in row.get(name, [])], spec[name].dtype),
            [len(row.get(name, [])) for row in SEARCHES],
        ).to_sparse()
        for name in names
    }
    served = layer(raw)
    for name in (*transformed.SEARCH_TOKENS, *transformed.SEARCH_ITEM_ROWS, "profile_gender"):
        ragged = tf.RaggedTensor.from_sparse(served[name]).to_list()
        assert ragged == [row.get(name, []) for row in rows[: len(SEARCHES)]], name
