"""Alert rules and dashboard ask for what /metrics exports."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.web.site import open_store, serve

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "pingboard/web/static/grafana.json"


@pytest.mark.usefixtures("programs")
def test_prometheus_accepts_the_rules() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.usefixtures("programs")
def test_the_rules_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    test = tmp_path / "test.yml"
    test.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(RULES)],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": [
                            # Two APIs tell of one worker, which syncs for 10 min and then not.
                            {
                                "series": "pingboard_last_sync_timestamp_seconds"
                                f'{{vantage="main",instance="{name}"}}',
                                "values": "0+60x10 600x20",
                            }
                            for name in "ab"
                        ],
                        "alert_rule_test": [
                            {"eval_time": "10m", "alertname": "PingboardNoSync", "exp_alerts": []},
                            {
                                "eval_time": "20m",
                                "alertname": "PingboardNoSync",
                                "exp_alerts": [_no_sync()],
                            },
                        ],
                    }
                ],
            }
        )
    )
    tested = subprocess.run(
        ["promtool", "test", "rules", str(test)], capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def _no_sync() -> dict[str, Any]:
    return {
        "exp_labels": {"severity": "critical", "vantage": "main"},
        "exp_annotations": {
            "summary": "The worker main has not heard from its homeserver for 5 min",
            "remedy": "/readyz says why: the worker, its homeserver, or its account",
        },
    }


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What /metrics exports once the API has been asked something."""
    store = open_store(tmp_path_factory.mktemp("metrics"))
    with serve(store) as client:
        client.get("/api/v1/rankings")
        text = client.get("/metrics").text
    store.dispose()
    return text


def test_the_rules_ask_only_for_metrics_that_are_exported(metrics: str) -> None:
    families = list(text_string_to_metric_families(metrics))
    exported = {family.name for family in families}
    exported |= {f"{family.name}_total" for family in families if family.type == "counter"}
    exported |= {f"{family.name}_bucket" for family in families if family.type == "histogram"}
    asked = set(re.findall(r"\b(?:pingboard|process)_[a-z_]+\b", _expressions(RULES)))
    assert asked
    assert asked <= exported


def test_the_dashboard_asks_only_for_metrics_and_labels_that_there_are(metrics: str) -> None:
    exposed = set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))
    labels = set(re.findall(r'[{,](\w+)="', metrics))
    labels |= {"homeserver", "verdict", "vantage", "reason"}
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > 12
    for query in queries:
        names = re.findall(r"(?:pingboard|process)_\w+", query)
        assert names
        assert all({name, name.removesuffix("_bucket")} & exposed for name in names), query
        grouped = re.findall(r"by \(([^)]*)\)", query)
        asked = {label for group in grouped for label in group.split(", ")}
        asked |= set(re.findall(r"[{,](\w+)!?=", query))
        assert asked <= labels, query


def _expressions(file: Path) -> str:
    if file == DASHBOARD:
        panels = json.loads(file.read_text())["panels"]
        return "\n".join(target["expr"] for panel in panels for target in panel.get("targets", []))
    groups = yaml.safe_load(file.read_text())["groups"]
    return "\n".join(rule["expr"] for group in groups for rule in group["rules"])


def test_what_the_database_counts_is_never_summed_over_processes() -> None:
    """Each API process exports it; the sum would be a multiple."""
    of_database = "pongs|pings|gap_pongs|void_rounds|round_trip_seconds"
    for file in (RULES, DASHBOARD):
        summed = re.findall(
            rf"sum(?: by \([a-z, ]*\))? ?\(rate\(pingboard_(?:{of_database})_", _expressions(file)
        )
        assert summed == []
