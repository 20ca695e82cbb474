"""Guessing keys gets slower with every guess, and forgetting is bounded in time and memory."""

from __future__ import annotations

from itertools import pairwise

from gateway.callers.throttle import Throttle


class Watch:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def failed(throttle: Throttle, times: int, address: str = "a") -> None:
    for _ in range(times):
        throttle.failed(address)


def test_a_few_mistakes_cost_nothing() -> None:
    throttle = Throttle(Watch())

    failed(throttle, 5)

    assert throttle.delay("a") == 0


def test_each_further_failure_doubles_the_wait_up_to_two_seconds() -> None:
    throttle = Throttle(Watch())
    failed(throttle, 5)
    waits = []
    for _ in range(100):
        throttle.failed("a")
        waits.append(throttle.delay("a"))

    assert waits[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert all(earlier <= later for earlier, later in pairwise(waits))
    assert waits[-1] == 2


def test_an_address_does_not_pay_for_another() -> None:
    throttle = Throttle(Watch())

    failed(throttle, 50)

    assert throttle.delay("b") == 0


def test_a_good_key_forgives_at_once() -> None:
    throttle = Throttle(Watch())
    failed(throttle, 50)

    throttle.succeeded("a")

    assert throttle.delay("a") == 0


def test_a_quiet_minute_forgives_and_the_count_begins_anew() -> None:
    watch = Watch()
    throttle = Throttle(watch)
    failed(throttle, 50)

    watch.seconds += 59
    assert throttle.delay("a") == 2
    watch.seconds += 2
    assert throttle.delay("a") == 0
    failed(throttle, 5)
    assert throttle.delay("a") == 0


def test_a_mistake_now_and_then_never_adds_up() -> None:
    watch = Watch()
    throttle = Throttle(watch)
    for _ in range(50):
        throttle.failed("a")
        watch.seconds += 61

    assert throttle.delay("a") == 0


def test_a_flood_of_addresses_pushes_out_the_oldest_and_no_more_are_kept() -> None:
    throttle = Throttle(Watch())
    failed(throttle, 50, "oldest")
    for number in range(10_000):
        throttle.failed(str(number))

    assert throttle.delay("oldest") == 0
    assert len(throttle._failures) == 10_000
