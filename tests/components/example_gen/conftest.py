from typing import Any

import pytest

from components.example_gen.config import IngestConfig
from tests.components.example_gen import oracle
from tests.components.example_gen.small_shop import make_shop, splits_of


@pytest.fixture(scope="session")
def expected() -> dict[str, list[dict[str, Any]]]:
    """The oracle's examples of the small shop, by split."""
    shop = make_shop()
    windows = IngestConfig.parse({"data": {"events": "e", "catalog": "c"}}).windows
    return oracle.examples(shop.log, shop.item_ids, shop.profiles, windows, splits_of(shop))
