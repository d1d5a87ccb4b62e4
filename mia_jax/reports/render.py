"""From sections to one self-contained page, by Jinja2's templates in ``templates/``.

Every text is escaped by the templates, and ``sanitize.harmless`` before that: names and numbers may be from a file that
anybody has changed. The same run gives the same bytes.
"""

import base64
import functools
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from mia_jax import sanitize
from mia_jax.reports import verdict
from mia_jax.reports.blocks import Block, Report
from mia_jax.reports.sections import SECTIONS, Section

STYLE = pathlib.Path(__file__).with_name("report.css")
# A setting in backticks, as everywhere in the library's texts, or a flag of a script.
CODE = re.compile(r"(`[^`]+`|--[a-z]\w*(?:=[\w.,()\-]*\w\)?)?)")


def page(report: Report, sections: Sequence[Section] = SECTIONS) -> str:
    """The whole page of a run: of ``sections``, those that have something to show."""
    results = report.results
    shown = [section for section in sections if section.shows(results, report.scores)]
    return (
        environment()
        .get_template("page.html")
        .render(
            mark="SIMULATED" if results["dataset"]["source"] == "simulated" else "",
            heading=verdict.heading(results),
            verdict=verdict.verdict(results),
            style=Markup(STYLE.read_text(encoding="utf-8")),
            sections=[(section, section.blocks(report)) for section in shown],
        )
    )


def plain_page(
    heading: str, verdict: str, sections: Sequence[tuple[str, str, Sequence[Block]]], *, simulated: bool = False
) -> str:
    """A page that is not of one run.

    Args:
        heading: its title.
        verdict: a paragraph below that.
        sections: anchor, title and blocks of each.
        simulated: whether records were, which every title then says.
    """
    shown = [(Section(anchor, title, lambda *_: True, lambda _: ()), blocks) for anchor, title, blocks in sections]
    template = environment().get_template("page.html")
    mark = "SIMULATED" if simulated else ""
    style = Markup(STYLE.read_text(encoding="utf-8"))
    return template.render(mark=mark, heading=heading, verdict=verdict, style=style, sections=shown)


@functools.cache
def environment() -> jinja2.Environment:
    """The templates' environment: what is missing is an error, and every text is escaped."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("mia_jax.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    env.filters |= {"prose": prose, "code": code, "name": name, "data_url": data_url}
    return env


def _harmless(item: Any) -> Any:
    return sanitize.harmless(item) if isinstance(item, str) and not isinstance(item, Markup) else item


def prose(text: Any) -> Markup:
    """Running text, in which settings and flags are set as code, so that they do not break after a dash."""
    parts = CODE.split(sanitize.harmless(str(text)))
    one = Markup('<code class="flag">{}</code>')
    return Markup("").join(one.format(part.strip("`")) if k % 2 else part for k, part in enumerate(parts))


def code(text: Any) -> Markup:
    """Code that a narrow page breaks between words, not after the dashes of a flag."""
    words = sanitize.harmless(str(text)).split(" ")
    return Markup("<code>{}</code>").format(Markup(" ").join(Markup("<span>{}</span>").format(w) for w in words))


def name(text: Any) -> Markup:
    """A name with underscores, after which a narrow page may break it."""
    return Markup("_<wbr>").join(sanitize.harmless(str(text)).split("_"))


def data_url(svg: bytes) -> str:
    """A picture that needs no other file."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
