"""Fixtures of all foreign clients' tests: gateways, started as a user would start them.

The clients here share no code with the gateway, so they find mistakes that the Rust SDK and the
gateway have in common. `./check foreign` builds the gateway, installs the clients and runs them.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

# Most assertions are in these modules. Their failures should be as detailed as those in tests.
pytest.register_assert_rewrite(
    "scenarios", "resume_scenarios", "stage", "room", "session_id", "vendor_wire"
)

import room
from cluster import GATEWAYS, Cluster, running_cluster
from gateways import Address, Gateway, Project, running
from sdks import Client, Node, Sdk, by_name
from vendor import Application, Vendor, new_customers, vendor_gateway
from webhook_receiver import Receiver

# Far more than any test needs. A hung test must fail, and no test may depend on the exact time.
TEST_DEADLINE_S = 60

# The logs of all gateways that have been started.
STDERR_PATHS = pytest.StashKey[list[Path]]()


@pytest.fixture(scope="session")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Gateway]:
    """One gateway for the whole run. A test that must be alone uses a session of its own."""
    directory = tmp_path_factory.mktemp("gateway")
    stderr_path = log_to_show(pytestconfig, directory / "stderr.log")
    with running(stderr_path, "--dev", "--dev-dir", str(directory / "dev")) as announcement:
        yield Gateway.parse(announcement)


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """The receiver of the webhooks that report events in the watched project's sessions."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def vendor(
    gateway: Gateway,
    receiver: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Vendor]:
    """The gateway for the vendor's SDKs."""
    directory = tmp_path_factory.mktemp("vendor")
    stderr_path = log_to_show(pytestconfig, directory / "stderr.log")
    with vendor_gateway(directory, stderr_path, gateway.ca, receiver.url) as vendor:
        yield vendor


@pytest.fixture(scope="session")
def cluster(
    gateway: Gateway,
    receiver: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Cluster]:
    """Three gateways for the whole run. A test that ends a gateway uses `own_cluster`."""
    directory = tmp_path_factory.mktemp("cluster")
    with new_cluster(directory, pytestconfig, gateway.ca, receiver.url, {}) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(
    gateway: Gateway, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """Three gateways for one test. Its parameter are settings, as environment variables."""
    settings = getattr(request, "param", {})
    with new_cluster(tmp_path, request.config, gateway.ca, receiver.url, settings) as cluster:
        yield cluster


def new_cluster(
    directory: Path, config: pytest.Config, ca: Path, webhook: str, settings: dict[str, str]
) -> AbstractContextManager[Cluster]:
    for number in range(GATEWAYS):
        log_to_show(config, Cluster.log(directory, number))
    return running_cluster(directory, new_customers(directory, ca, webhook), settings)


@pytest.fixture(scope="session")
def node(gateway: Gateway) -> Iterator[Node]:
    node = Node(gateway.ca)
    yield node
    node.stop()


OpenSdk = Callable[..., Client]


@pytest.fixture
def open_sdk(vendor: Vendor, node: Node, monkeypatch: pytest.MonkeyPatch) -> OpenSdk:
    """Opens an SDK with valid credentials of its kind, or with the given ones."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(vendor.ca))

    def open_sdk(
        sdk: Sdk, credentials: Project | Application | None = None, slash: bool = False
    ) -> Client:
        good = vendor.application if sdk.applications else vendor.project
        where = replace(vendor, https=WithSlash(vendor.https)) if slash else vendor
        return sdk.open(node, where, credentials or good)

    return open_sdk


@pytest.fixture
def client(open_sdk: OpenSdk, sdk: Sdk) -> Client:
    """The SDK that the test is parametrized with, opened."""
    return open_sdk(sdk)


@dataclass(frozen=True)
class WithSlash:
    """An address with a slash at its end, as people copy it from a browser."""

    address: Address

    def __str__(self) -> str:
        return f"{self.address}/"


Perform = Callable[[room.Play], None]


@pytest.fixture
def perform(vendor: Vendor, open_sdk: OpenSdk, sdk: Sdk, client: Client) -> Perform:
    """Runs a scenario in a room of the SDK. If its address is fixed, another SDK creates it."""
    creator = client if sdk.requests else open_sdk(by_name("vonage-python"))
    return functools.partial(room.perform, vendor, client, creator)


def log_to_show(config: pytest.Config, stderr_path: Path) -> Path:
    """Registers the log of a gateway; its end is shown with every failure."""
    config.stash.setdefault(STDERR_PATHS, []).append(stderr_path)
    return stderr_path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_DEADLINE_S))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Adds the end of the gateways' logs to a failure."""
    report = (yield).get_result()
    if not report.failed:
        return
    for path in item.config.stash.get(STDERR_PATHS, []):
        if path.exists():
            lines = path.read_text(errors="replace").splitlines()
            title = f"end of {path.parent.name}/{path.name}"
            report.sections.append((title, "\n".join(lines[-50:])))
