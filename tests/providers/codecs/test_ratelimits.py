"""What an answer's headers say is left of a provider's limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.codecs.ratelimits import rate_limits, seconds, seconds_until
from llmgine.providers.contracts import RateLimit

DATE = {"date": "Fri, 17 Apr 2026 22:24:20 GMT"}


def limit(of: str, limit: int | None, remaining: int | None, resets_in: float | None) -> RateLimit:
    return RateLimit(of=of, limit=limit, remaining=remaining, resets_in=resets_in)


VENDORS: list[tuple[dict[str, str], tuple[RateLimit, ...]]] = [
    (
        {
            "x-ratelimit-limit-requests": "5000",
            "x-ratelimit-remaining-requests": "4999",
            "x-ratelimit-reset-requests": "12ms",
            "x-ratelimit-limit-tokens": "800000",
            "x-ratelimit-remaining-tokens": "799984",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        (limit("requests", 5000, 4999, 0.012), limit("tokens", 800_000, 799_984, 360.0)),
    ),
    (
        {
            **DATE,
            "anthropic-ratelimit-input-tokens-limit": "4000000",
            "anthropic-ratelimit-input-tokens-remaining": "3999000",
            "anthropic-ratelimit-input-tokens-reset": "2026-04-17T22:24:54Z",
            "anthropic-ratelimit-requests-limit": "4000",
            "anthropic-ratelimit-requests-remaining": "3999",
            "anthropic-ratelimit-requests-reset": "2026-04-17T22:24:00Z",
        },
        (limit("input_tokens", 4_000_000, 3_999_000, 34.0), limit("requests", 4000, 3999, 0.0)),
    ),
    (
        {"anthropic-ratelimit-tokens-limit": "5", "anthropic-ratelimit-tokens-reset": "2026-04-17T22:24:54Z"},
        (limit("tokens", 5, None, None),),
    ),
    (
        {
            **DATE,
            "X-RateLimit-Limit": "20",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": "1776464700000",
        },
        (limit("requests", 20, 0, 40.0),),
    ),
    ({"X-RateLimit-Reset": "1776464700"}, ()),
    ({**DATE, "X-RateLimit-Reset": "1776464700"}, (limit("requests", None, None, 40.0),)),
    (
        {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"},
        (limit("requests", 60, 59, None),),
    ),
    (
        {"x-ratelimit-remaining-tokens-minute": "7", "x-ratelimit-reset-tokens-minute": "0.5"},
        (limit("tokens_minute", None, 7, 0.5),),
    ),
    (
        {"ratelimit-limit": "9", "ratelimit-remaining": "8", "ratelimit-reset": "7"},
        (limit("requests", 9, 8, 7.0),),
    ),
]


@pytest.mark.parametrize(("headers", "limits"), VENDORS)
def test_vendors_limits(headers: dict[str, str], limits: tuple[RateLimit, ...]) -> None:
    """Each vendor's headers give the same figures; points in time count from the answer's own date."""
    assert rate_limits(headers) == limits


@pytest.mark.parametrize(
    "value", ["", "soon", "-1", "nan", "inf", "9" * 20, "9" * 400, "1e999", "2026-99-99T00:00:00Z"]
)
def test_bad_values_are_unknown(value: str) -> None:
    """What cannot be read leaves the rest as it is."""
    headers = {f"x-ratelimit-{name}-tokens": value for name in ("limit", "reset")}
    assert rate_limits({**DATE, **headers}) == ()
    assert rate_limits({**headers, "x-ratelimit-remaining-tokens": "3"}) == (limit("tokens", None, 3, None),)


def test_other_headers_are_no_limits() -> None:
    """Most answers name none."""
    assert (
        rate_limits(
            {**DATE, "content-type": "text/event-stream", "x-ratelimit": "3", "ratelimit-policy": "q"}
        )
        == ()
    )


@given(st.dictionaries(st.sampled_from(["x-ratelimit-limit-x", "x-ratelimit-reset-x", "date"]), st.text()))
def test_nothing_is_too_odd(headers: dict[str, str]) -> None:
    """Whatever the headers hold, nothing is raised and no figure is out of range."""
    for one in rate_limits(headers):
        assert one.resets_in is None or one.resets_in >= 0


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("20ms", 0.02),
        ("1m30.5s", 90.5),
        ("1h2m3s", 3723.0),
        ("2d", 172_800.0),
        ("350µs", 0.00035),
        ("6m 0s", None),
        ("5x", None),
        (None, None),
    ],
)
def test_spans_of_time(text: Any, span: float | None) -> None:
    """As vendors write them."""
    assert seconds(text) == pytest.approx(span)


def test_a_past_moment_is_now() -> None:
    """A clock that runs ahead never gives a negative wait."""
    assert seconds_until("Fri, 17 Apr 2026 22:24:00 GMT", DATE["date"]) == 0.0
    assert seconds_until("Fri, 17 Apr 2026 22:25:20 GMT", DATE["date"]) == 60.0
    assert seconds_until("Fri, 17 Apr 2026 22:25:20 GMT", "") is None
