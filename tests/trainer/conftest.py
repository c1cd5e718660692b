import pytest

from tests.small_shop import SmallShop, small_shop


@pytest.fixture(scope="session")
def shop() -> SmallShop:
    return small_shop()
