"""View and Redact: what they accept, what they refuse and in which words, and that they come through a Config whole."""

from __future__ import annotations

import copy
import math
import pickle
import re
from typing import Any, Callable

import pytest

import pytracingx as ptx

VIEWS = {
    "View()": {},
    "View(instrument_name='http.*')": {"instrument_name": "http.*"},
    "View(meter_name='m', instrument_kind='up_down_counter', unit='s')": {
        "meter_name": "m",
        "instrument_kind": "Up_Down_Counter",
        "unit": "s",
    },
    "View(instrument_name='a', name='b')": {"instrument_name": "a", "name": "b"},
    "View(attribute_keys=['a', 'b'], cardinality_limit=7)": {
        "attribute_keys": ["b", "a", "a"],
        "cardinality_limit": 7,
    },
    "View(attribute_keys=[])": {"attribute_keys": ()},
    "View(aggregation='sum')": {"aggregation": "sum"},
    "View(aggregation='last_value')": {"aggregation": "last_value"},
    "View(aggregation='explicit')": {"aggregation": "explicit"},
    "View(boundaries=[0.5, 1.0])": {"boundaries": (0.5, 1)},
    "View(boundaries=[])": {"aggregation": "explicit", "boundaries": []},
    "View(aggregation='exponential', max_size=160)": {"aggregation": "exponential"},
    "View(aggregation='exponential', max_size=20)": {"aggregation": "exponential", "max_size": 20},
    "View(drop=True)": {"drop": True},
}
REDACTIONS = {
    "Redact(key='a*', action='drop')": ("a*",),
    "Redact(key='a', action='hash')": ("a", "HASH"),
    "Redact(key='a', action='truncate', length=0)": ("a", "truncate", 0),
}


@pytest.mark.parametrize(("shown", "arguments"), VIEWS.items())
def test_a_view_prints_as_what_makes_it_again(shown: str, arguments: dict[str, Any]) -> None:
    """`repr`, equality, copies and pickles of a View."""
    view = ptx.View(**arguments)
    assert repr(view) == shown
    assert eval(shown, {"View": ptx.View}) == view
    assert copy.deepcopy(view) == view
    assert pickle.loads(pickle.dumps(view)) == view
    assert [other for other in VIEWS if ptx.View(**VIEWS[other]) == view] == [shown]
    assert view != object()


@pytest.mark.parametrize(("shown", "arguments"), REDACTIONS.items())
def test_a_redaction_prints_as_what_makes_it_again(shown: str, arguments: tuple[Any, ...]) -> None:
    """`repr`, equality, copies and pickles of a Redact."""
    rule = ptx.Redact(*arguments)
    assert repr(rule) == shown
    assert eval(shown, {"Redact": ptx.Redact}) == rule
    assert copy.deepcopy(rule) == rule
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert [other for other in REDACTIONS if ptx.Redact(*REDACTIONS[other]) == rule] == [shown]


def test_the_drop_aggregation_is_drop() -> None:
    """Two spellings of one thing."""
    assert ptx.View(aggregation="drop") == ptx.View(drop=True) == ptx.View(drop=True, aggregation="drop")
    assert ptx.View(aggregation="default") == ptx.View()


def test_arguments_of_a_view_stand_in_this_order() -> None:
    """As documented; `max_size` came later."""
    view = ptx.View("i", "m", "histogram", "s", "n", ["k"], "explicit", [1.0], False, 9)
    assert repr(view) == (
        "View(instrument_name='i', meter_name='m', instrument_kind='histogram', unit='s', name='n', "
        "attribute_keys=['k'], boundaries=[1.0], cardinality_limit=9)"
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ptx.View(""), "instrument_name must not be empty"),
        (lambda: ptx.View(meter_name=""), "meter_name must not be empty"),
        (lambda: ptx.View("a", name=""), "name must not be empty"),
        (lambda: ptx.View("a*", name="b"), "name 'b' needs an instrument_name without '*' and '?'"),
        (lambda: ptx.View("a?", name="b"), "name 'b' needs an instrument_name without '*' and '?'"),
        (lambda: ptx.View(unit="s", name="b"), "name 'b' needs an instrument_name without '*' and '?'"),
        (lambda: ptx.View(instrument_kind="timer"), "unknown instrument_kind 'timer', expected 'counter' | 'up_down_counter'"),
        (lambda: ptx.View(aggregation="avg"), "unknown aggregation 'avg', expected 'default' | 'sum' | 'last_value'"),
        (lambda: ptx.View(boundaries=[1, 1]), "boundaries must be finite numbers, each larger than the one before, got [1.0, 1.0]"),
        (lambda: ptx.View(boundaries=[math.nan]), "boundaries must be finite numbers, each larger than the one before, got [NaN]"),
        (lambda: ptx.View(boundaries=[0, 10**400]), "boundaries must be finite numbers"),
        (lambda: ptx.View(aggregation="sum", boundaries=[1]), "boundaries needs aggregation 'explicit', got 'sum'"),
        (lambda: ptx.View(drop=True, boundaries=[1]), "boundaries needs aggregation 'explicit', got 'drop'"),
        (lambda: ptx.View(max_size=5), "max_size needs aggregation 'exponential', got 'default'"),
        (lambda: ptx.View(aggregation="exponential", max_size=1), "max_size must be at least 2, got 1"),
        (lambda: ptx.View(drop=True, aggregation="sum"), "drop=True is an aggregation, got 'sum' too"),
        (lambda: ptx.View(cardinality_limit=0), "cardinality_limit must be at least 1, got 0"),
        (lambda: ptx.Redact(""), "key must not be empty"),
        (lambda: ptx.Redact("k", "mask"), "unknown action 'mask', expected 'drop' | 'hash' | 'truncate'"),
        (lambda: ptx.Redact("k", "truncate"), "action 'truncate' needs length"),
        (lambda: ptx.Redact("k", "truncate", -1), "length must be at least 0, got -1"),
        (lambda: ptx.Redact("k", "hash", 5), "length needs action 'truncate', got 5 with action 'hash'"),
    ],
)  # fmt: skip
def test_an_error_names_the_argument_the_value_and_what_is_allowed(
    make: Callable[[], object], text: str
) -> None:
    """Whatever is not allowed is told where it is written."""
    with pytest.raises(ptx.ConfigError, match=re.escape(text)):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ptx.View(1),
        lambda: ptx.View(attribute_keys="key"),
        lambda: ptx.View(attribute_keys=[1]),
        lambda: ptx.View(boundaries=["1"]),
        lambda: ptx.View(drop="no"),
        lambda: ptx.View(cardinality_limit=1.5),
        lambda: ptx.Redact(),
        lambda: ptx.Redact(b"k"),
    ],
)
def test_a_wrong_type_is_a_type_error(make: Callable[[], object]) -> None:
    """Also letters where keys belong."""
    with pytest.raises(TypeError):
        make()


def test_a_config_holds_them_and_shows_them() -> None:
    """In their order, as the arguments that make them; any iterable will do."""
    views = (ptx.View("a", drop=True), ptx.View(boundaries=[1.0]))
    config = ptx.Config("svc", views=views, redact=iter([ptx.Redact("k", "truncate", 2), ptx.Redact("*")]))
    for same in (config, pickle.loads(pickle.dumps(config)), copy.copy(config)):
        about = same.describe()
        assert about["views"] == [{"instrument_name": "a", "drop": True}, {"boundaries": [1.0]}]
        assert about["redact"] == [
            {"key": "k", "action": "truncate", "length": 2},
            {"key": "*", "action": "drop"},
        ]
