"""What tests of the chart share: helm, which renders each set of values once."""

import charts
import pytest


@pytest.fixture(scope="session")
def helm() -> charts.Helm:
    """Return helm; skip the test where it is not."""
    found = charts.found()
    if found is None:
        pytest.skip("helm is neither on PATH nor in ~/.cache/khealth-tools/bin")
    return found
