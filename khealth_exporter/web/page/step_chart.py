"""The duration of each step of an attempt: as a bar chart, as text, and as a table by object."""

from collections.abc import Iterator, Sequence

from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.web.page.formatting import counted, duration, measured_duration
from khealth_exporter.web.page.markup import Markup, tag

_MIN_SHARE = 0.004
"""The minimum share of a step, so that it stays visible."""
_LABEL_SHARE = 0.2
"""The share at which a step has room for its name."""


def step_charts(attempt: Attempt) -> Iterator[Markup]:
    """Yield the charts of an attempt; nothing without measurements."""
    counted_steps = {found.step for found in attempt.distributions}
    one_by_one = [m for m in attempt.steps if m.step not in counted_steps]
    steps = [m for m in one_by_one if not m.step.sli and not m.step.teardown]
    startup = [m for m in one_by_one if m.step.sli]
    teardown = [m for m in one_by_one if m.step.teardown]
    if not one_by_one:
        return
    pods = len(attempt.samples)
    slowest = f" (slowest of {counted(pods, 'object')})" if pods > 1 else ""
    yield tag("h3", f"Step durations of the last attempt{slowest}")
    if steps:
        yield from _bar("Steps", steps)
    if startup:
        yield tag("p", f"Pod startup SLI (objective: 99 % within 5 s): {_text(startup[0])}")
    if teardown:
        yield from _bar("Teardown", teardown)


def step_means(attempt: Attempt) -> Iterator[Markup]:
    """Yield the mean of each step that was measured many times: these do not follow each other, so they make no bar."""
    entries = [
        tag("li", tag("b", found.step.name), f" {_text(found.mean)}, mean of {found.count:,}")
        for found in attempt.distributions
        if found.mean
    ]
    if entries:
        yield tag("h3", "Mean durations of the last attempt")
        yield tag("ul", entries, class_="legend")


def _bar(title: str, measurements: Sequence[Measurement]) -> Iterator[Markup]:
    total = sum(measured.seconds for measured in measurements)
    caption = f"{title}: {duration(total)}"
    text = "; ".join(f"{measured.step.name} {_text(measured)}" for measured in measurements)
    yield tag(
        "p", caption, tag("span", "; the lines below the bar show the uncertainty", class_="quiet"), class_="bar-title"
    )
    yield tag(
        "svg",
        list(_segments(measurements, total)),
        class_="bar",
        role="img",
        aria_label=f"{caption}. {text}",
        height="44",
    )
    yield tag("ol", [_entry(index, measured) for index, measured in enumerate(measurements)], class_="legend")


def _segments(measurements: Sequence[Measurement], total: float) -> Iterator[Markup]:
    shares = [max(measured.seconds / total if total else 0.0, _MIN_SHARE) for measured in measurements]
    scale = 100 / sum(shares)
    left = 0.0
    for index, (measured, share) in enumerate(zip(measurements, shares, strict=True)):
        width = share * scale
        position = {"x": f"{left:.2f}%", "y": "2", "width": f"{width:.2f}%", "height": "24"}
        yield tag("rect", class_=_classes(index, measured), **position)
        if measured.censored:
            yield _line(left, left + width, 14, "stripes")
        if share >= _LABEL_SHARE:
            label = f"{measured.step.name}: stuck" if measured.censored else measured.step.name
            yield tag(
                "text", label, x=f"{left + width / 2:.2f}%", y="19", class_="censored" if measured.censored else None
            )
        left += width
        half = measured.uncertainty / total * scale if total else 0.0
        yield from _error_bar(left, half, 33 if index % 2 == 0 else 39)


def _error_bar(end: float, half: float, height: float) -> Iterator[Markup]:
    """Yield the error bar around the end of a step."""
    begin, end = max(0.0, end - half), min(100.0, end + half)
    yield _line(begin, end, height)
    for at in (begin, end):
        yield _line(at, at, height, tall=3)


def _line(begin: float, end: float, height: float, kind: str = "error", *, tall: float = 0) -> Markup:
    ends = {"x1": f"{begin:.2f}%", "x2": f"{end:.2f}%", "y1": f"{height - tall:g}", "y2": f"{height + tall:g}"}
    return tag("line", class_=kind, **ends)


def _classes(index: int, measured: Measurement) -> str:
    alternate = " alternate" if index % 2 else ""
    return f"step {measured.step.component.value}{alternate}{' censored' if measured.censored else ''}"


def _entry(index: int, measured: Measurement) -> Markup:
    swatch = tag(
        "svg",
        tag("rect", class_=_classes(index, measured), width="12", height="12"),
        class_="swatch",
        width="12",
        height="12",
        aria_hidden="true",
    )
    component = tag("span", measured.step.component.value.replace("_", " "), class_="quiet")
    return tag("li", swatch, " ", tag("b", measured.step.name), f" {_text(measured)} ", component)


def _text(measured: Measurement) -> str:
    return measured_duration(measured) + ("" if measured.quality is Quality.EXACT else f" ({measured.quality.value})")


def object_table(samples: Sequence[Sample], name: str) -> Iterator[Markup]:
    """Yield a table of the measurements of each object; nothing without objects."""
    names = tuple(dict.fromkeys(measured.step.name for sample in samples for measured in sample.measurements))
    if not names:
        return
    heads = [tag("th", head, scope="col") for head in ("object", "node", *names, "quality")]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", [_row(sample, names) for sample in samples]))
    yield tag(
        "details",
        tag("summary", f"Measurements of {counted(len(samples), 'object')} in the last attempt"),
        tag("div", table, class_="wide", role="group", tabindex="0", aria_label="Measurements of each object"),
        id=f"{name}.objects",
    )


def _row(sample: Sample, names: Sequence[str]) -> Markup:
    durations = {measured.step.name: measured for measured in sample.measurements}
    cells = [_cell(durations.get(step)) for step in names]
    head = tag("th", sample.object, scope="row")
    injected = f", injected: {', '.join(sample.injected)}" if sample.injected else ""
    return tag("tr", head, tag("td", sample.node or "none"), cells, tag("td", sample.quality.value + injected))


def _cell(measured: Measurement | None) -> Markup:
    if measured is None:
        return tag("td")
    return tag("td", measured_duration(measured), class_="figure censored" if measured.censored else "figure")
