"""What is told of the API: counts by method and status, an audit line for sensitive reads, and no value or token.

Excludes who calls it and when (tests/unit/api), and whole processes (tests/functional/test_api_canary.py).
"""

from __future__ import annotations

import structlog
from prometheus_client.parser import text_string_to_metric_families

from syncer.telemetry.api import ApiHealth, ApiTelemetry
from syncer.telemetry.metrics import Metrics

METHOD = "porter.outputs.v1alpha1.PorterBundle/ListInstallations"


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.page()[0].decode())
        for sample in family.samples
        if sample.name.startswith("porter_outputs_syncer_api_request")
    }


def test_requests_are_counted_by_method_and_status():
    metrics = Metrics(version="1")
    telemetry = ApiTelemetry(metrics)
    for code in ("OK", "OK", "UNAUTHENTICATED"):
        telemetry.request(f"/{METHOD}", code, 0.25)
    found = samples(metrics)
    counted = {
        dict(labels)["code"]: value
        for (name, labels), value in found.items()
        if name == "porter_outputs_syncer_api_requests_total"
    }
    assert counted == {"OK": 2, "UNAUTHENTICATED": 1}
    label = frozenset({("method", METHOD)})
    assert found["porter_outputs_syncer_api_request_seconds_count", label] == 3
    assert found["porter_outputs_syncer_api_request_seconds_sum", label] == 0.75


def test_a_sensitive_read_is_one_line_that_says_who_read_what():
    telemetry = ApiTelemetry(Metrics(version="1"))
    with structlog.testing.capture_logs() as log:
        telemetry.sensitive_read("system:serviceaccount:shop:web", "shop", "db", ("password", "token"))
    assert log == [
        {
            "event": "sensitive outputs read",
            "log_level": "warning",
            "caller": "system:serviceaccount:shop:web",
            "installation": "shop/db",
            "outputs": ["password", "token"],
        }
    ]


def test_callers_and_installations_are_in_no_metric():
    metrics = Metrics(version="1")
    ApiTelemetry(metrics).sensitive_read("ann", "shop", "db", ["password"])
    page = metrics.page()[0].decode()
    assert not any(word in page for word in ("ann", "shop", "password"))


def test_a_process_that_serves_is_alive_and_ready():
    health = ApiHealth()
    assert health.alive().good
    assert health.ready().good
