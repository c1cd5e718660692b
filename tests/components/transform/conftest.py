import pytest

from tests.small_shop import SmallShop, small_shop


@pytest.fixture(scope="session")
def transformed_shop() -> tuple:
    shop: SmallShop = small_shop()
    return shop.rows, shop.transform
