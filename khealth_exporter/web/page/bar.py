"""Where an attempt's time went: a bar of its steps with their error bars, the same in words, and each object's."""

from collections.abc import Iterator, Sequence

from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.web.page.markup import Markup, tag
from khealth_exporter.web.page.words import duration, figure, number

_LEAST = 0.004
"""The share of the bar that even the shortest step has: it is to be seen."""
_NAMED = 0.2
"""The share from which on a step's name has room in the bar."""


def steps(attempt: Attempt) -> Iterator[Markup]:
    """Yield an attempt's bars; nothing if nothing was measured."""
    until = [m for m in attempt.steps if not m.step.sli and not m.step.teardown]
    startup = [m for m in attempt.steps if m.step.sli]
    removal = [m for m in attempt.steps if m.step.teardown]
    if not attempt.steps:
        return
    pods = len(attempt.samples)
    of_which = f", of the slowest of {number(pods, 'object')}" if pods > 1 else ""
    yield tag("h3", f"Where the last attempt's time went{of_which}")
    if until:
        yield from _bar("Until it stood", until)
    if startup:
        yield tag("p", f"Pod startup, the SLI (99 % within 5 s): {_told(startup[0])}")
    if removal:
        yield from _bar("Until it was gone", removal)


def _bar(title: str, measurements: Sequence[Measurement]) -> Iterator[Markup]:
    total = sum(measured.seconds for measured in measurements)
    words = f"{title}: {duration(total)}"
    told = "; ".join(f"{measured.step.name} {_told(measured)}" for measured in measurements)
    yield tag("p", words, tag("span", "; below it, how far each end is uncertain", class_="quiet"), class_="bar-title")
    yield tag(
        "svg", list(_drawn(measurements, total)), class_="bar", role="img", aria_label=f"{words}. {told}", height="44"
    )
    yield tag("ol", [_entry(index, measured) for index, measured in enumerate(measurements)], class_="legend")


def _drawn(measurements: Sequence[Measurement], total: float) -> Iterator[Markup]:
    wanted = [max(measured.seconds / total if total else 0.0, _LEAST) for measured in measurements]
    scale = 100 / sum(wanted)
    left = 0.0
    for index, (measured, share) in enumerate(zip(measurements, wanted, strict=True)):
        width = share * scale
        place = {"x": f"{left:.2f}%", "y": "2", "width": f"{width:.2f}%", "height": "24"}
        yield tag("rect", class_=_kind(index, measured), **place)
        if measured.censored:
            yield _line(left, left + width, 14, "stripes")
        if share >= _NAMED:
            label = f"{measured.step.name}: stuck" if measured.censored else measured.step.name
            yield tag(
                "text", label, x=f"{left + width / 2:.2f}%", y="19", class_="censored" if measured.censored else None
            )
        left += width
        half = measured.uncertainty / total * scale if total else 0.0
        yield from _whisker(left, half, 33 if index % 2 == 0 else 39)


def _whisker(end: float, half: float, height: float) -> Iterator[Markup]:
    """Yield an error bar about a step's end."""
    begin, end = max(0.0, end - half), min(100.0, end + half)
    yield _line(begin, end, height)
    for at in (begin, end):
        yield _line(at, at, height, tall=3)


def _line(begin: float, end: float, height: float, kind: str = "error", *, tall: float = 0) -> Markup:
    ends = {"x1": f"{begin:.2f}%", "x2": f"{end:.2f}%", "y1": f"{height - tall:g}", "y2": f"{height + tall:g}"}
    return tag("line", class_=kind, **ends)


def _kind(index: int, measured: Measurement) -> str:
    alternate = " alternate" if index % 2 else ""
    return f"step {measured.step.component.value}{alternate}{' censored' if measured.censored else ''}"


def _entry(index: int, measured: Measurement) -> Markup:
    swatch = tag(
        "svg",
        tag("rect", class_=_kind(index, measured), width="12", height="12"),
        class_="swatch",
        width="12",
        height="12",
        aria_hidden="true",
    )
    component = tag("span", measured.step.component.value.replace("_", " "), class_="quiet")
    return tag("li", swatch, " ", tag("b", measured.step.name), f" {_told(measured)} ", component)


def _told(measured: Measurement) -> str:
    return figure(measured) + ("" if measured.quality is Quality.EXACT else f" ({measured.quality.value})")


def samples(found: Sequence[Sample], name: str) -> Iterator[Markup]:
    """Yield a table of what was measured of each object; nothing if there are none."""
    names = tuple(dict.fromkeys(measured.step.name for sample in found for measured in sample.measurements))
    if not names:
        return
    heads = [tag("th", head, scope="col") for head in ("object", "node", *names, "quality")]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", [_row(sample, names) for sample in found]))
    yield tag(
        "details",
        tag("summary", f"Figures of {number(len(found), 'object')} of the last attempt"),
        tag("div", table, class_="wide", role="group", tabindex="0", aria_label="Figures of each object"),
        id=f"{name}.objects",
    )


def _row(sample: Sample, names: Sequence[str]) -> Markup:
    figures = {measured.step.name: measured for measured in sample.measurements}
    cells = [_cell(figures.get(step)) for step in names]
    head = tag("th", sample.object, scope="row")
    return tag("tr", head, tag("td", sample.node or "none"), cells, tag("td", sample.quality.value))


def _cell(measured: Measurement | None) -> Markup:
    if measured is None:
        return tag("td")
    return tag("td", figure(measured), class_="figure censored" if measured.censored else "figure")
