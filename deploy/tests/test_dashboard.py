"""The dashboard for Grafana, against the schema that Grafana's own libraries are generated from."""

import enum
import json
import types
import typing

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard, units

# Grafana writes it for its list of variables, and its schema does not have it.
NOT_IN_THE_SCHEMA = {"dashboard.templating.list.1.definition"}


@pytest.fixture
def source(deploy):
    return json.loads((deploy / "grafana/signalbox.json").read_text())


@pytest.fixture
def parsed(source):
    register_default_plugins()
    return dashboard.Dashboard.from_json(source)


def test_every_member_is_one_that_grafana_knows(source, parsed):
    """What the schema does not have is lost when the dashboard is read and written."""
    written = json.loads(json.dumps(parsed, cls=JSONEncoder))
    assert set(lost(source, written, "dashboard")) == NOT_IN_THE_SCHEMA


def lost(before, after, path):
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name in after:
                yield from lost(value, after[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}.{index}")
    elif before != after:
        yield path


def test_every_value_has_the_type_of_the_schema(parsed):
    assert list(faults(parsed, dashboard.Dashboard, "dashboard")) == []


def faults(value, expected, path):
    """Values that are not what the schema allows there."""
    kind = typing.get_origin(expected)
    arguments = typing.get_args(expected)
    if kind in (typing.Union, types.UnionType):
        found = [list(faults(value, one, path)) for one in arguments]
        if all(found):
            yield from min(found, key=len)
    elif kind is typing.Literal:
        if value not in arguments:
            yield f"{path} is {value!r}, not one of {arguments}"
    elif kind is list and isinstance(value, list):
        for index, one in enumerate(value):
            yield from faults(one, arguments[0], f"{path}.{index}")
    elif kind is dict and isinstance(value, dict):
        for name, one in value.items():
            yield from faults(one, arguments[1], f"{path}.{name}")
    elif isinstance(expected, type) and issubclass(expected, enum.Enum):
        if value not in [one.value for one in expected]:
            yield f"{path} is {value!r}, not one of {[one.value for one in expected]}"
    elif type(value).__module__.startswith("grafana_foundation_sdk."):
        # A query or the options of a panel: the schema says which one by the panel's type.
        if not isinstance(value, kind or expected) and expected not in (object, typing.Any):
            yield f"{path} is a {type(value).__name__}, not a {expected.__name__}"
        for name, one in typing.get_type_hints(type(value)).items():
            yield from faults(getattr(value, name), one, f"{path}.{name}")
    elif expected not in (object, typing.Any):
        number = expected is float and type(value) is int
        if not number and type(value) is not (kind or expected):
            yield f"{path} is {value!r}, not {expected}"


def test_every_panel_is_of_a_type_and_unit_that_grafana_has(source):
    known = {value for name, value in vars(units).items() if not name.startswith("_")}
    for panel in source["panels"]:
        assert panel["type"] in {"row", "stat", "timeseries"}, panel["title"]
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"] in known, panel["title"]


def test_every_query_uses_the_variables_of_the_dashboard(source):
    variables = {one["name"]: one for one in source["templating"]["list"]}
    assert variables.keys() == {"datasource", "instance"}
    assert variables["datasource"]["query"] == "prometheus"
    own = {"$" + name for name in variables} | {"$__rate_interval"}
    for panel in source["panels"]:
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(letters)) == len(letters), panel["title"]
        for target in panel.get("targets", []):
            used = {word for word in own if word in target["expr"]}
            assert "$instance" in used, panel["title"]
            assert target["expr"].count("$") == sum(target["expr"].count(word) for word in used)
