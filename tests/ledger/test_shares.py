"""An entry's amount, shared among its classes: nothing is lost and nothing is made up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from gateway.ledger.shares import shares
from gateway.metering.usage import CLASSES, Usage
from gateway.prices.rates import NO_COST, Price, Rates, charge

numbers = st.sampled_from([0, 0, 1, 3, 999, 10**6, 10**9])
usages = st.builds(Usage, **dict.fromkeys(CLASSES, numbers))
rates = st.builds(
    Rates, **dict.fromkeys(CLASSES, st.sampled_from([0, 1, 499_999, 500_000, 1_500_000, 10**10]))
)


@given(usages, rates)
def test_shares_of_a_product_add_up_and_are_within_a_nano_of_their_own_but_for_the_largest(
    usage: Usage, prices: Rates
) -> None:
    nanos = charge(Price(rates=prices, source="test"), usage, None).amount_nanos
    found = shares(asdict(usage), prices, nanos)

    assert sum(share.nanos for share in found) == nanos
    assert {s.token_class: s.number for s in found} == {k: n for k, n in asdict(usage).items() if n}
    assert all(share.rate == getattr(prices, share.token_class) for share in found)
    off = sorted(abs(share.nanos - share.exact / 10**6) for share in found)
    assert all(by < 1 for by in off[:-1])
    assert not off or off[-1] <= len(found)


@given(usages, rates | st.none(), st.integers(-(10**15), 10**15))
def test_shares_of_any_amount_add_up_to_it(usage: Usage, prices: Rates | None, nanos: int) -> None:
    found = shares(asdict(usage), prices, nanos)
    assert sum(share.nanos for share in found) == (nanos if usage != Usage() else 0)


def test_what_is_left_over_goes_to_the_class_that_cost_most() -> None:
    usage, prices = (
        Usage(input=1, output=3),
        asdict(NO_COST) | {"input": 600_000, "output": 700_000},
    )
    found = shares(asdict(usage), Rates(**prices), 3)  # 0.6 + 2.1 nanos
    assert [(share.token_class, share.nanos) for share in found] == [("input", 0), ("output", 3)]


def test_a_stated_amount_is_shared_in_proportion_and_has_no_unit_price() -> None:
    usage, prices = (
        Usage(input=1, output=1),
        asdict(NO_COST) | {"input": 10**6, "output": 3 * 10**6},
    )
    found = shares(asdict(usage), Rates(**prices), 1000)
    assert [(s.token_class, s.nanos, s.rate) for s in found] == [
        ("input", 250, None),
        ("output", 750, None),
    ]
