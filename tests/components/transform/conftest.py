import pytest


@pytest.fixture(scope="session")
def transformed_shop(small_shop) -> tuple:
    return small_shop.rows, small_shop.transform
