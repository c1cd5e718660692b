from pipeline.bench.ambiguity import ambiguous_queries, clicks_by_category


def test_a_query_is_ambiguous_if_two_categories_have_a_tenth():
    clicks = clicks_by_category(
        [("apple", "phones")] * 60
        + [("apple", "fruit")] * 40
        + [("edge", "a")] * 90
        + [("edge", "b")] * 10
        + [("lamp", "lamps")] * 91
        + [("lamp", "tables")] * 9
        # Scattered clicks are noise, however many categories they fall into.
        + [("quilt", "quilts")] * 80
        + [("quilt", f"other {n}") for n in range(20)]
        # Too few to tell.
        + [("rare", "a")] * 10
        + [("rare", "b")] * 9
    )
    assert ambiguous_queries(clicks) == {"apple", "edge"}
