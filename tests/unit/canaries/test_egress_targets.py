"""What agents connect to: khealth and its agents must understand each target alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from khealth_exporter.canaries.egress_targets import Target
from khealth_exporter.canary.agent import egress
from khealth_exporter.canary.agent.question import Question

PIECE = st.sampled_from(["http://", "https://", "a", "b.c", "-", "_", ":", "0", "80", "99999", "[", "]", "::1", "/", "?", "@", "#", " ", "\n", "é", "a" * 254])  # fmt: skip
TEXT = st.lists(PIECE, max_size=6).map("".join)


@given(TEXT, st.sampled_from(["url", "address"]))
def test_agents_take_every_target_that_settings_take(text: str, key: str) -> None:
    """They refuse a question of which one target is wrong, so no other would be tried either."""
    try:
        target = Target.model_validate({key: text})
    except ValidationError:
        return
    assert 1 == len(egress.targets(Question({"targets": [target.question(0)]}, 0.0)))


@pytest.mark.parametrize(
    "target",
    [{"url": "https://a"}, {"url": "http://a-b_c.d:8080/x?y"}, {"url": "http://[fd00::1]:80/"}, {"url": "https://a?b"},
     {"address": "a:1"}, {"address": "[::1]:65535"}, {"address": "10.0.0.1:443"}],
    ids=str,
)  # fmt: skip
def test_what_agents_can_reach_may_be_a_target(target: dict[str, str]) -> None:
    assert target.items() <= Target.model_validate(target).model_dump().items()


@pytest.mark.parametrize(
    "target",
    [{}, {"url": "http://a:0/"}, {"url": "http://:80/"}, {"url": "http://a:/"}, {"url": f"http://{'a' * 254}/"},
     {"url": "http://[::1]x/"}, {"url": "http://a:99999/"}, {"address": "a:0"}, {"address": "a:00"}, {"address": ":80"},
     {"address": "a"}, {"address": "::1:80"}, {"url": "http://a/", "address": "a:1"}],
    ids=str,
)  # fmt: skip
def test_what_agents_would_refuse_is_an_error_of_the_settings(target: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Target.model_validate(target)
