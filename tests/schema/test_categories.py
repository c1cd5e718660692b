import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.categories import category_path

NAMES = st.lists(st.text(alphabet="abc 鞋&'", min_size=1).filter(str.strip), min_size=2, max_size=4)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([["Home", "C1"], ["Sale"]], ["Home", "C1"]),
        ([[], ["Sale"]], ["Sale"]),
        ([12, 17.0], ["12", "17"]),
        (7, ["7"]),
        ("7", ["7"]),
        (["Home > Garden", "Sale > Old"], ["Home", "Garden"]),
        (["Home", "Home > Garden", "Home > Garden > Pots"], ["Home", "Garden", "Pots"]),
        (["Gift Cards", "Gift Cards"], ["Gift Cards", "Gift Cards"]),
        ({"lvl0": "Home", "lvl1": "Home > Garden"}, ["Home", "Garden"]),
        ({"lvl0": ["Home", "Sale"], "lvl1": ["Home > Garden"], "lvl2": None}, ["Home", "Garden"]),
        ({"lvl0": "Home", "lvl1": "Garden"}, ["Home", "Garden"]),
        ({"level_1": "Home", "level_2": "Garden", "level_10": "Pots"}, ["Home", "Garden", "Pots"]),
        ([{"lvl0": "Home", "lvl1": "Home > Garden"}, {"lvl0": "Sale"}], ["Home", "Garden"]),
        ({"id": 1, "name": "Home"}, ["Home"]),
        ([{"id": 1, "name": "Home"}, {"id": 2, "name": "Garden"}], ["Home", "Garden"]),
        ({"id": None, "name": None}, []),
        ([None, "Home", "nan", " "], ["Home"]),
        ("nan", []),
        ("None", ["None"]),
        ([], []),
        ([[]], []),
        ([{"id": 1}], None),
        ({"en": "Home"}, None),
        ({"name": "Pots", "parent": {"name": "Home"}}, None),
        ("[Home, Garden]", None),
        ("{lvl0=Home}", None),
    ],
)
def test_a_category_is_read_where_its_meaning_is_plain(value: object, path: list[str] | None) -> None:
    written = [value] if isinstance(value, str) else [json.dumps(value), str(value)]
    assert [category_path(text) for text in written] == [path] * len(written)


@given(NAMES)
@settings(deadline=None)
def test_every_way_to_write_a_path_gives_the_same_names(names: list[str]) -> None:
    paths = [" > ".join(names[: n + 1]) for n in range(len(names))]
    levels = {f"lvl{n}": path for n, path in enumerate(paths)}
    struct = pl.DataFrame({"c": [levels]}).select(pl.col("c").struct.json_encode())["c"][0]
    ways = [names, [names, ["Other"]], paths, levels, [{"id": 1, "name": name} for name in names]]
    texts = [struct, paths[-1], str(tuple(names)), *map(json.dumps, ways), *map(str, ways)]
    assert [category_path(text) for text in texts] == [[name.strip() for name in names]] * len(texts)


@given(st.text(alphabet="[]{}()'\",:> =array", max_size=12))
@settings(deadline=None)
def test_any_text_gives_names_or_none(text: str) -> None:
    path = category_path(text)
    assert path is None or all(isinstance(name, str) and name.strip() for name in path)
