"""The broker of a deployment: Mosquitto as the deployment's folder configures it."""

import signal
import subprocess
from pathlib import Path

from edge.demo.broker import listens
from edge.provision import mosquitto
from edge.provision.deployment import Deployment
from edge.provision.layout import BROKER
from tests.conftest import MOSQUITTO
from tests.fakes import eventually


class DeploymentBroker:
    """A running Mosquitto; what it keeps and logs lies in *folder*."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        """Run it as it was configured, but for its user, log and what it keeps."""
        assert MOSQUITTO is not None
        written = (deployment.folder / BROKER / mosquitto.CONFIGURATION_FILE).read_text()
        here = written.replace("/var/lib/mosquitto/", f"{folder}/")
        assert here != written
        (folder / "here.conf").write_text(f"{here}user root\nlog_type information\n")
        self._log = folder / "broker.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-c", str(folder / "here.conf")], stdout=log, stderr=log
            )
        port = deployment.settings.broker.port
        eventually(lambda: listens(port), "mosquitto listens")
        assert self._process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def reload(self) -> None:
        """What `systemctl reload mosquitto` does, and wait until it was done."""
        before = self._reloads()
        self._process.send_signal(signal.SIGHUP)
        eventually(lambda: self._reloads() > before, "it reloads")

    def _reloads(self) -> int:
        return self._log.read_text().count("Reloading config")
