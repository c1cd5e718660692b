import math

from hypothesis import given
from hypothesis import strategies as st

from schema.features import RelevanceControl
from souk_client.answers import Row
from souk_client.shard_merge import merge

PLAIN = st.sampled_from([None, RelevanceControl.OFF, RelevanceControl.NOTHING_NAMED])


def padded(hits: list[tuple[float, bytes]], k: int, control: str | None) -> Row:
    """The k best by score and then id, as a servable that holds just these would answer."""
    best = sorted(hits, key=lambda hit: (-hit[0], hit[1]))[:k]
    gap = k - len(best)
    return Row([i for _, i in best] + [b""] * gap, [s for s, _ in best] + [-math.inf] * gap, control)


@st.composite
def catalogs(draw):
    """Scored items, the shard that each is in, and k; few scores, so that many are equal."""
    scores = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(-2, 2, width=32), max_size=40))
    shards = draw(st.integers(1, 5))
    owners = draw(st.lists(st.integers(0, shards - 1), min_size=len(scores), max_size=len(scores)))
    hits = [(score, b"item-%d" % number) for number, score in enumerate(scores)]
    return [[h for h, o in zip(hits, owners, strict=True) if o == shard] for shard in range(shards)]


@given(catalogs(), st.integers(1, 12), PLAIN)
def test_the_merge_of_shards_is_the_exact_top_k_of_the_whole(shards, k, control):
    whole = [hit for shard in shards for hit in shard]
    assert merge([padded(shard, k, control) for shard in shards]) == padded(whole, k, control)


@given(catalogs(), st.integers(1, 12), st.data())
def test_where_any_shard_matched_only_those_that_did_count(shards, k, data):
    """Each item matches or not; a shard without a match answers with all it has."""
    matching = [[hit for hit in shard if data.draw(st.booleans())] for shard in shards]
    rows = [
        padded(matched, k, RelevanceControl.APPLIED) if matched else padded(shard, k, RelevanceControl.FALLBACK)
        for matched, shard in zip(matching, shards, strict=True)
    ]
    every_match = [hit for matched in matching for hit in matched]
    if every_match:
        expected = padded(every_match, k, RelevanceControl.APPLIED)
    else:
        expected = padded([hit for shard in shards for hit in shard], k, RelevanceControl.FALLBACK)
    assert merge(rows) == expected


def test_the_longest_answer_says_how_many_places_there_are():
    short, long = Row([b"a"], [1.0]), Row([b"b", b""], [2.0, -math.inf])
    assert merge([short, long]) == Row([b"b", b"a"], [2.0, 1.0])


def test_other_shards_do_not_hide_a_score_that_is_no_number():
    bad, good = Row([b"a", b"b"], [math.nan, math.nan]), Row([b"c", b"d"], [2.0, 1.0])
    merged = merge([good, bad])
    assert (merged.ids, math.isnan(merged.scores[0])) == ([b"a", b"b"], True)
