"""What tests of the chart share: helm, which renders each set of values once."""

import charts
import pytest
from tools import needs


@pytest.fixture(scope="session")
def helm() -> charts.Helm:
    """Return helm; skip the test where it is not."""
    return charts.Helm(needs("helm"))
