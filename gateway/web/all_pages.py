"""The list of all pages: to add a room of pages is to add a line here, and to the policies."""

from __future__ import annotations

from gateway.alerts.alerting import Alerting
from gateway.web.alerts import alerts_pages
from gateway.web.bills import bills_pages
from gateway.web.budgets import budgets_pages
from gateway.web.callers import callers_pages
from gateway.web.closing import closing_pages
from gateway.web.foresight import Foresight
from gateway.web.jobs import jobs_pages
from gateway.web.keys import keys_pages
from gateway.web.overview import overview_pages
from gateway.web.pages import Page
from gateway.web.reports import reports_pages
from gateway.web.requests import Why, requests_pages
from gateway.web.routes import routes_pages
from gateway.web.sources import Sources


def all_pages(sources: Sources, why: Why, alerting: Alerting) -> list[Page]:
    """Every page there is, the sign-in apart; `why` finds the decision of a request."""
    foresight = Foresight(sources)
    return [
        *overview_pages(sources, foresight),
        *budgets_pages(sources, foresight),
        *jobs_pages(sources),
        *requests_pages(sources, why),
        *reports_pages(sources),
        *closing_pages(sources),
        *bills_pages(sources),
        *callers_pages(sources),
        *keys_pages(sources),
        *routes_pages(sources),
        *alerts_pages(sources, alerting),
    ]
