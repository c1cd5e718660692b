import pytest

from components.canary.config import CanaryConfig
from schema.settings import InputError


def test_the_old_name_of_the_load_limit_leads_to_the_new_one():
    with pytest.raises(InputError, match="`startup_timeout_s` is not a known key; it is `load_timeout_s` now"):
        CanaryConfig.parse({"startup_timeout_s": 600})


@pytest.mark.parametrize("values", [{"attempts": 0}, {"process_timeout_s": 0}, {"load_timeout_s": -1}])
def test_limits_that_nothing_can_keep_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        CanaryConfig.parse(values)
