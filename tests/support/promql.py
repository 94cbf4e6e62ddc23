"""What is wrong with a query in PromQL, by what our processes export.

`promql_parser` refuses what does not parse and what has the wrong type, but knows no metric. Here every name, label and
label's value has to be one of ours, and a function has to fit the kind of its metric.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import promql_parser as promql

from adapters.registry import SOURCES
from daemon.app import declared
from daemon.bus.metrics import OF_ALL
from daemon.telemetry.declared import Declared
from daemon.telemetry.metrics import OTHER
from daemon.workers import WORKERS

METRICS: Final = {metric.name: metric for metric in declared(WORKERS)}
SHARED: Final = {
    "worker": {worker.name for worker in WORKERS},
    "source": {source.name for source in SOURCES},
    "provider": {channel for worker in WORKERS for channel in worker.channels},
}
BY_SCRAPE: Final = frozenset({"job", "instance"})
"""The labels that Prometheus adds."""

GROWTH: Final = ("rate", "irate", "increase")
SLOPE: Final = ("deriv", "delta", "idelta", "predict_linear")
MACROS: Final = {"$__rate_interval": "5m", "$__range": "1h"}


def problems(query: str) -> list[str]:
    """What is wrong with *query*; Grafana's macros and variables may stand in it."""
    for macro, value in MACROS.items():
        query = query.replace(macro, value)
    try:
        parsed = promql.parse(re.sub(r'=~"\$\w+"', '=~".*"', query))
    except ValueError as exc:
        return [str(exc)]
    return list(_problems(parsed))


def labels(query: str) -> set[str]:
    """The labels that the series of *query* have, as far as its metrics tell."""
    for macro, value in MACROS.items():
        query = query.replace(macro, value)
    return _labels(promql.parse(query))


def _metric(name: str | None) -> tuple[Declared, str] | None:
    """The metric that a series of this name is of, and the ending that its kind adds."""
    if name is None:
        return None
    if name in METRICS and METRICS[name].kind != "histogram":
        return METRICS[name], ""
    for ending in ("_bucket", "_sum", "_count"):
        found = METRICS.get(name.removesuffix(ending)) if name.endswith(ending) else None
        if found is not None and found.kind == "histogram":
            return found, ending
    return None


def _inside(expr: Any) -> list[Any]:
    match expr:
        case promql.Call():
            return list(expr.args)
        case promql.AggregateExpr() | promql.ParenExpr() | promql.SubqueryExpr() | promql.UnaryExpr():
            return [expr.expr]
        case promql.BinaryExpr():
            return [expr.lhs, expr.rhs]
        case promql.MatrixSelector():
            return [expr.vector_selector]
    return []


def _selector(expr: Any) -> Any:
    """The selector that *expr* is, with or without a range; None where it is none."""
    if isinstance(expr, promql.MatrixSelector):
        return expr.vector_selector
    return expr if isinstance(expr, promql.VectorSelector) else None


def _problems(expr: Any) -> Iterator[str]:
    if isinstance(expr, promql.VectorSelector):
        yield from _of_selector(expr)
    if isinstance(expr, promql.Call) and (selector := _selector(next(iter(expr.args), None))) is not None:
        yield from _of_call(expr.func.name, selector)
    if isinstance(expr, promql.AggregateExpr):
        yield from _of_aggregate(expr)
    for part in _inside(expr):
        yield from _problems(part)


def _of_selector(selector: Any) -> Iterator[str]:
    if selector.name == "up":
        metric, allowed = None, BY_SCRAPE
    elif (found := _metric(selector.name)) is None:
        yield f"{selector.name} is not exported"
        return
    else:
        metric, allowed = found[0], BY_SCRAPE | _labels(selector)
    for matcher in selector.matchers.matchers:
        if matcher.name not in allowed:
            yield f"{selector.name} has no label {matcher.name}"
        elif metric is not None and matcher.name in metric.labels:
            known = {*(metric.values.get(matcher.name) or SHARED[matcher.name]), OTHER}
            named = (
                matcher.value.split("|") if matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe) else [matcher.value]
            )
            if unknown := {value for value in named if value != ".*"} - known:
                yield f"{matcher.name} of {selector.name} is never {', '.join(sorted(unknown))}"


def _of_call(function: str, selector: Any) -> Iterator[str]:
    found = _metric(selector.name)
    if found is None:
        return
    if function in GROWTH and found[0].kind == "gauge":
        yield f"{function} of the gauge {selector.name}"
    if function in SLOPE and found[0].kind != "gauge":
        yield f"{function} of {selector.name}, which is no gauge"


def _of_aggregate(expr: Any) -> Iterator[str]:
    wanted = set(expr.modifier.labels) if expr.modifier is not None else set()
    if lacking := wanted - _labels(expr.expr):
        yield f"nothing has the label {', '.join(sorted(lacking))} in {expr.expr}"
    selector = _selector(expr.expr)
    found = _metric(selector.name) if selector is not None else None
    if found is not None and OF_ALL in found[0].help and str(expr.op) in ("sum", "avg", "count"):
        yield f"{expr.op} of {selector.name}, which every process tells for all"


def _labels(expr: Any) -> set[str]:
    match expr:
        case promql.VectorSelector():
            found = _metric(expr.name)
            own = set() if found is None else {*found[0].labels, *(("le",) if found[1] == "_bucket" else ())}
            return own | BY_SCRAPE
        case promql.AggregateExpr():
            named = set() if expr.modifier is None else set(expr.modifier.labels)
            without = expr.modifier is not None and expr.modifier.type == promql.AggModifierType.Without
            return _labels(expr.expr) - named if without else named
        case promql.BinaryExpr():
            return _labels(expr.lhs) or _labels(expr.rhs)
        case promql.Call():
            of_it = set().union(*(_labels(part) for part in expr.args))
            return of_it - {"le"} if expr.func.name == "histogram_quantile" else of_it
    return set().union(*(_labels(part) for part in _inside(expr)))
