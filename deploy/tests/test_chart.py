"""The Helm chart: linted and rendered by Helm's engine, and checked against the schemas of Kubernetes."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError

# The oldest version that kubernetes-validate and the chart both know, and the newest.
KUBERNETES = ["1.26", "1.37"]
VALUES: dict[str, Any] = {
    "tls": {"existingSecret": "certificate"},
    "projects": {"existingSecret": "projects"},
    "cluster": {"servers": ["nats://nats:4222"]},
}
VARIANTS: list[dict[str, Any]] = [
    VALUES,
    {
        **VALUES,
        "replicas": 1,
        "cluster": {"servers": []},
        "persistence": {"enabled": True, "storageClassName": "fast"},
        "service": {"type": "ClusterIP"},
        "networkPolicy": {"enabled": False},
    },
    {
        **VALUES,
        "cluster": {"servers": ["tls://nats:4222"], "credentials": {"existingSecret": "nats"}},
        "gateways": ["quic://signal.example.com"],
        "drain": {"readinessDelayMs": 1001, "timeoutMs": 60000},
        "settings": {
            "auth": {"allowed_origins": ["https://app.example.com"], "subscribers_may_send": True},
            "limits": {"outbox_bytes": 10000000},
        },
        "ops": {"tokenSecret": "ops"},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podAnnotations": {"team": "calls"},
        "tolerations": [{"operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
    },
]


def render(deploy: Path, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The objects by kind and name."""
    with Chart.load(deploy / "helm/signalbox") as chart:
        files = chart.render(values=values, name="demo")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    objects = [it for text in texts for it in yaml.safe_load_all(text) if it]
    return {f"{it['kind']}/{it['metadata']['name']}": it for it in objects}


def environment(objects: dict[str, dict[str, Any]]) -> dict[str, str]:
    container = objects["StatefulSet/demo"]["spec"]["template"]["spec"]["containers"][0]
    names = [it["name"] for it in container["env"]]
    assert len(names) == len(set(names)), names
    return {it["name"]: it.get("value", "") for it in container["env"]}


@pytest.mark.parametrize("values", VARIANTS)
def test_helm_lint_has_nothing_to_say(deploy: Path, values: dict[str, Any]) -> None:
    said = lint(deploy / "helm/signalbox", values=values, strict=True)
    assert not said["errors"], said
    assert [it["error"] for it in said["messages"]] == ["icon is recommended"], said


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", VARIANTS)
def test_every_object_has_the_schema_of_kubernetes(deploy: Path, values: dict[str, Any], version: str) -> None:
    objects = render(deploy, values)
    assert {"StatefulSet/demo", "Service/demo", "Service/demo-pods"} <= objects.keys()
    for it in objects.values():
        # That one belongs to the Prometheus operator.
        if it["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(it, version, strict=True)
    broken = json.loads(json.dumps(objects["Service/demo"]))
    broken["spec"]["ports"][0]["port"] = "https"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_settings_reach_the_gateway_as_its_environment(deploy: Path) -> None:
    variables = environment(render(deploy, VARIANTS[2]))
    assert variables["SIGNALBOX_AUTH__ALLOWED_ORIGINS"] == '["https://app.example.com"]'
    assert variables["SIGNALBOX_AUTH__SUBSCRIBERS_MAY_SEND"] == "true"
    assert variables["SIGNALBOX_LIMITS__OUTBOX_BYTES"] == "10000000"
    assert variables["SIGNALBOX_CLUSTER__SERVERS"] == '["tls://nats:4222"]'
    assert variables["SIGNALBOX_CLUSTER__CREDENTIALS_FILE"] == "/etc/signalbox/nats/nats.creds"
    assert "SIGNALBOX_CLUSTER__SERVERS" not in environment(render(deploy, VARIANTS[1]))


def test_metrics_are_for_those_who_have_the_token(deploy: Path) -> None:
    assert environment(render(deploy, VALUES))["SIGNALBOX_OPS__LISTEN"] == "127.0.0.1:4435"
    objects = render(deploy, VARIANTS[2])
    variables = environment(objects)
    assert variables["SIGNALBOX_OPS__LISTEN"] == "0.0.0.0:4435"
    assert variables["SIGNALBOX_OPS__TOKEN_FILE"] == "/etc/signalbox/ops/token"
    monitor = objects["ServiceMonitor/demo"]["spec"]
    assert monitor["endpoints"][0]["authorization"]["credentials"] == {"name": "ops", "key": "token"}
    # It selects the pods, and not the service for clients as well.
    labels = monitor["selector"]["matchLabels"].items()
    services = [it for it in objects.values() if it["kind"] == "Service"]
    selected = [it for it in services if labels <= it["metadata"]["labels"].items()]
    assert [it["metadata"]["name"] for it in selected] == ["demo-pods"]
    assert "ops" in [it["name"] for it in selected[0]["spec"]["ports"]]


@pytest.mark.parametrize(("values", "seconds"), [(VARIANTS[0], 45), (VARIANTS[2], 77)])
def test_a_pod_lives_longer_than_its_drain(deploy: Path, values: dict[str, Any], seconds: int) -> None:
    pod = render(deploy, values)["StatefulSet/demo"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == seconds


def test_a_pod_has_no_privileges(deploy: Path) -> None:
    pod = render(deploy, VALUES)["StatefulSet/demo"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False and pod["securityContext"]["runAsNonRoot"] is True
    context = pod["containers"][0]["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tls": {"existingSecret": ""}}, "tls.existingSecret is required"),
        ({"projects": {"existingSecret": ""}}, "projects.existingSecret is required"),
        ({"cluster": {"servers": []}}, "set cluster.servers, or replicas to 1"),
        ({"cluster": {"servers": ["localhost"]}}, "servers"),
        ({"serviceMonitor": {"enabled": True}}, "needs ops.tokenSecret"),
        ({"replica": 2}, "replica"),
    ],
)
def test_a_wrong_value_is_an_error(deploy: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render(deploy, {**VALUES, **change})
