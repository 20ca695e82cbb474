"""Which price an answer has when another model answered than the one that was asked.

Providers route: who asks for an alias is answered by a dated model, who asks for one model may be
answered by its sibling. The model that ran is what they bill (trap 18), so its price is the
book's. Only a price that somebody wrote in routes.yaml, or declared free, holds whatever model
answers: it is a contract about the target and not about a name in the answer.
"""

from __future__ import annotations

from gateway.prices.book import PriceBook
from gateway.prices.rates import Price
from gateway.prices.stated import SOURCE


def price_of_answer(own: Price, book: PriceBook, price_provider: str, served: str) -> Price:
    """The price of the model that answered; `own`, the target's, when the book has no such model.

    `price_provider` is the provider's name in the book; `served` is as the answer names it.
    """
    if not served or own.free or SOURCE in own.source:
        return own
    facts = book.find(price_provider, served)
    return own if facts is None else facts.price
