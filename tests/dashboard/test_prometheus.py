"""A real Prometheus scrapes what collector and dashboard give, and Grafana's file asks for that."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from edge.collector.metrics import EVERY_S, MetricsFile
from edge.collector.service import Collector
from edge.dashboard.condition import UNIT_ORDER
from edge.mqtt import Connection
from edge.storage.storage import Storage
from edge.topics import topic
from tests.dashboard.browser import served
from tests.dashboard.parts import OWN_PLACE, Deployment
from tests.fakes import FakeConnection, a_scan, came, eventually
from tests.prometheus import program, running

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "edge/dashboard/grafana.json"


class Files(SimpleHTTPRequestHandler):
    """What node_exporter does with the collector's file: serves it as it is."""

    extensions_map = {"": "text/plain; version=0.0.4"}  # noqa: RUF012 - the library's own

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[str]:
    """Where the collector's file, in the folder `textfile`, is served."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def work_as_collector(deployment: Deployment, file: Path) -> None:
    """A collector takes a few scans, one of them twice, and something that is no scan."""
    connection = FakeConnection()
    connection.come_up()
    storage = Storage(deployment.file)
    collector = Collector(
        cast(Connection, connection),
        storage,
        deployment.clock,
        batch_scans=10,
        batch_wait_s=0.0,
        gap_ask_s=300.0,
    )
    metrics = MetricsFile(file, collector.totals, connection, deployment.clock)
    first, second = (a_scan(n, place=OWN_PLACE, clock="ntp").encode() for n in (1, 2))
    for payload in (first, second, second, b"noise"):
        connection.deliver(topic("pleiku", "cong-1", "scan"), payload)
    for _ in range(50):
        collector.step()
        deployment.clock.advance(EVERY_S)
        metrics.step()
        if collector.totals.stored == 2 and collector.totals.set_aside == 1:
            break
    metrics.step()
    collector.close()
    storage.close()


def families_of(text: str) -> set[str]:
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}


def asked_for() -> list[str]:
    """Every expression of Grafana's file."""
    dashboard = json.loads(GRAFANA.read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_grafanas_file_asks_for_all_that_there_is_and_no_more(
    deployment: Deployment, tmp_path: Path
) -> None:
    work_as_collector(deployment, tmp_path / "edge.prom")
    served_here = deployment.client(address="127.0.0.1").get("/metrics").text
    given = families_of(served_here) | families_of((tmp_path / "edge.prom").read_text())

    asked = {name for expr in asked_for() for name in re.findall(r"edge_\w+", expr)}

    assert asked == given


def test_grafanas_file_is_whole() -> None:
    dashboard: dict[str, Any] = json.loads(GRAFANA.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "two panels lie on one another"
    assert max(x for x, _ in cells) < 24
    sources = {panel["datasource"]["uid"] for panel in panels}
    assert sources == {f"${{{dashboard['templating']['list'][0]['name']}}}"}


def test_prometheus_scrapes_and_every_panel_has_something_to_draw(
    deployment: Deployment, tmp_path: Path, exporter: str
) -> None:
    # It is looked at first, so that nothing runs where there is none.
    promtool = program("promtool")
    work_as_collector(deployment, tmp_path / "textfile" / "edge.prom")
    deployment.add_alarms()
    seen = a_scan(9, place=OWN_PLACE, direction="in", clock="ntp")
    storage = Storage(deployment.file)
    storage.store([came("pleiku", "cong-1", seen)], deployment.clock.now().at)
    storage.close()
    config = tmp_path / "prometheus.yml"
    with served(deployment) as url:
        jobs = (("dashboard", urlsplit(url).netloc, "/metrics"), ("node", exporter, "/edge.prom"))
        config.write_text(
            "global: {scrape_interval: 1s}\nscrape_configs:\n"
            + "".join(
                f"  - job_name: {name}\n    metrics_path: {path}\n"
                f"    static_configs: [{{targets: ['{target}']}}]\n"
                for name, target, path in jobs
            )
        )
        subprocess.run([promtool, "check", "config", str(config)], check=True, capture_output=True)
        text = deployment.client(address="127.0.0.1").get("/metrics").text
        text += (tmp_path / "textfile" / "edge.prom").read_text()
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr

        with running(config, tmp_path) as prometheus:

            def all_up() -> bool:
                try:
                    return [row["value"][1] for row in prometheus.ask("up")] == ["1", "1"]
                except OSError:
                    return False

            eventually(all_up, "both are scraped")
            # A rate needs two looks.
            eventually(
                lambda: all(prometheus.ask(expr) for expr in asked_for()),
                "every panel has something",
            )
            (stored,) = prometheus.ask("edge_collector_stored_total")
            assert stored["value"][1] == "2"
            conditions = {row["metric"]["condition"] for row in prometheus.ask("edge_units")}
            assert conditions == set(UNIT_ORDER)
