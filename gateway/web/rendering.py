"""Templates to HTML. Every value is escaped, and a name that is not there is an error.

Besides a page's own values each template has: `visit`, `say` (its wording), `nav` (the sections
that the visitor may open), `csrf` (the token for forms), `said` (what the last form has to tell),
`asset` (the URL of a static file), `link` (a path with a query), `behind` (a link to the entries
behind a figure) and `Permission`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.callers.roles import Permission
from gateway.treasury.bills import whole
from gateway.web.assets import Assets
from gateway.web.drawing import bar_width, spark_points
from gateway.web.pages import Html, Section, Visit, link
from gateway.web.selections import behind
from gateway.web.wording import Wording


class Renderer:
    """Knows all templates of the package."""

    def __init__(self, assets: Assets) -> None:
        self._environment = Environment(
            loader=PackageLoader("gateway.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(
            asset=assets.url,
            behind=behind,
            link=link,
            Permission=Permission,
            bar_width=bar_width,
            spark_points=spark_points,
        )
        self._environment.filters["money_text"] = _money_text
        self._environment.filters["round_nanos"] = whole

    def page(
        self, html: Html, visit: Visit, *, nav: Sequence[Section], csrf: str, said: str
    ) -> str:
        """A page, or a part of one, for a visitor."""
        frame = {"visit": visit, "say": visit.say, "nav": nav, "csrf": csrf, "said": said}
        return self._render(html, frame)

    def bare(self, html: Html, csrf: str = "") -> str:
        """A page for somebody who is not signed in."""
        return self._render(html, {"visit": None, "nav": (), "csrf": csrf, "said": ""})

    def _render(self, html: Html, frame: dict[str, Any]) -> str:
        return self._environment.get_template(html.template).render({**frame, **html.values})


def _money_text(nanos: int, say: Wording) -> str:
    """Money as words alone, where no element can stand."""
    return say.money(nanos)
