"""The round trips between nodes: as a matrix while there are few nodes, and as a table of the worst pairs."""

from collections.abc import Iterator, Sequence

from khealth_exporter.vocabulary.matrix import Matrix, Pair
from khealth_exporter.web.page.formatting import round_trip
from khealth_exporter.web.page.markup import Markup, tag

_NODES = 50
"""The nodes up to which a matrix is readable."""
_WORST = 50
"""The pairs that the table shows."""
_SMALL = 16
"""The nodes up to which there is room for a larger type."""
_SHADES = (0.0005, 0.001, 0.005, 0.025, 0.1)
"""The seconds from which a cell is darker."""
_LOST = "\N{MULTIPLICATION SIGN}"
_CAPTION = (
    "Median TCP round trip in milliseconds, from the node of the row to the node of the column."
    f" ! some round trips are lost, {_LOST} all of them."
)


def pair_matrix(matrix: Matrix | None, name: str) -> Iterator[Markup]:
    """Yield the matrix of an attempt; nothing without pairs."""
    if matrix is None or not matrix.pairs:
        return
    yield tag("h3", "Round trips between nodes")
    few = len(matrix.nodes) <= _NODES and len(matrix.pairs) == matrix.measured
    if few:
        yield tag("p", _CAPTION, class_="quiet", id=f"{name}.caption")
        yield _wide(_matrix(matrix, f"{name}.caption"), "Round trips between nodes")
    shown = matrix.pairs[:_WORST]
    what = "All pairs" if len(shown) == matrix.measured else f"The worst {len(shown)} of {matrix.measured:,} pairs"
    summary = tag("summary", f"{what} as a table")
    yield tag("details", summary, _wide(_table(shown), what), id=f"{name}.pairs", open=not few)


def _wide(table: Markup, label: str) -> Markup:
    return tag("div", table, class_="wide", role="group", tabindex="0", aria_label=label)


def _matrix(matrix: Matrix, caption: str) -> Markup:
    """Return rows and columns of all nodes; columns have numbers, and the rows say which node that is."""
    nodes = {node: str(number) for number, node in enumerate(matrix.nodes, 1)}
    found = {(pair.source, pair.target): pair for pair in matrix.pairs}
    heads = [tag("th", tag("abbr", number, title=node), scope="col") for node, number in nodes.items()]
    rows = [
        tag(
            "tr",
            tag("th", tag("b", number), f" {source}", scope="row"),
            [_cell(found.get((source, target)), own=source == target) for target in nodes],
        )
        for source, number in nodes.items()
    ]
    head = tag("thead", tag("tr", tag("th", "from, to", scope="col"), heads))
    kind = "matrix small" if len(nodes) <= _SMALL else "matrix"
    return tag("table", head, tag("tbody", rows), class_=kind, aria_describedby=caption)


def _cell(pair: Pair | None, *, own: bool) -> Markup:
    if pair is None:
        return tag("td", "\N{MIDDLE DOT}" if own else "")
    text = _LOST if pair.seconds is None else f"{_short(pair.seconds)}{'!' if pair.loss else ''}"
    figures = f"{_median(pair)}, jitter {round_trip(pair.jitter)}, {pair.loss:.1%} lost"
    title = f"{pair.source} → {pair.target}: {figures}{', failing' if pair.failing else ''}"
    return tag("td", text, class_=_class(pair), title=title)


def _class(pair: Pair) -> str:
    shade = f"shade-{sum(pair.seconds >= edge for edge in _SHADES)}" if pair.seconds is not None else ""
    return " ".join(filter(None, (shade, "failing" if pair.failing or pair.seconds is None else "")))


def _short(seconds: float) -> str:
    """Return milliseconds in three characters, so that fifty cells fit beside each other."""
    milliseconds = seconds * 1000
    if milliseconds < 1 - 0.005:
        return f"{milliseconds:.2f}".lstrip("0")
    return f"{milliseconds:.1f}" if milliseconds < 10 - 0.05 else f"{milliseconds:.0f}"


def _median(pair: Pair) -> str:
    return "no answer" if pair.seconds is None else round_trip(pair.seconds)


def _table(pairs: Sequence[Pair]) -> Markup:
    heads = [tag("th", head, scope="col") for head in ("from", "to", "median", "jitter", "lost", "state")]
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", [_row(pair) for pair in pairs]))


def _row(pair: Pair) -> Markup:
    figures = _median(pair), round_trip(pair.jitter) if pair.seconds is not None else "", f"{pair.loss:.1%}"
    bad = "figure censored" if pair.failing else "figure"
    return tag(
        "tr",
        tag("th", pair.source, scope="row"),
        tag("td", pair.target),
        [tag("td", figure, class_=bad) for figure in figures],
        tag("td", "failing" if pair.failing else "healthy"),
    )
