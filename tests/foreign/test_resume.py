"""A connection that outlives its links, told by clients that know the document and nothing else."""

import pytest

import resume_scenarios
from gateways import Gateway
from resume_scenarios import Scenario, Way, perform
from stage import QUIC, QUIC_SINGLE, WEBSOCKET_JSON, WEBSOCKET_POSTCARD

WAYS = [
    Way(QUIC, QUIC),
    Way(QUIC, QUIC, "abandon"),
    Way(QUIC, WEBSOCKET_JSON),
    Way(WEBSOCKET_JSON, QUIC),
    Way(WEBSOCKET_JSON, WEBSOCKET_JSON),
    Way(WEBSOCKET_JSON, WEBSOCKET_JSON, "abandon"),
    Way(QUIC_SINGLE, WEBSOCKET_POSTCARD, "abandon"),
    Way(WEBSOCKET_POSTCARD, QUIC_SINGLE),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=str)


@each_way
def test_nothing_is_missed_and_nothing_comes_twice(gateway: Gateway, way: Way) -> None:
    perform(resume_scenarios.nothing_is_missed_and_nothing_comes_twice, gateway, way)


@each_way
@pytest.mark.parametrize("scenario", resume_scenarios.ALL, ids=lambda scenario: scenario.__name__)
def test_promise(gateway: Gateway, way: Way, scenario: Scenario) -> None:
    perform(scenario, gateway, way)
