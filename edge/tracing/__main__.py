"""The command `edge-trace`: reads its settings, opens things, and loops; or asks a running desk."""

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from edge import cli, config
from edge.chain import Head
from edge.clock import SystemClock
from edge.errors import ConfigError
from edge.legal_basis import LegalBasis, read_bases
from edge.memory import keep_to_ourselves
from edge.sealing import Verifier, read_key
from edge.storage import feed
from edge.storage.database import Database
from edge.storage.keeping.known_time import latest_known
from edge.systemd import Notifier
from edge.tracing import commands
from edge.tracing.audit import Audit
from edge.tracing.boxes import StoredBoxes
from edge.tracing.cases import Cases
from edge.tracing.desk import Desk
from edge.tracing.index import Index
from edge.tracing.indexer import Indexer
from edge.tracing.keys import read_keys
from edge.tracing.officer import Officer
from edge.tracing.places import Places, RegisterFile
from edge.tracing.questions import Questions
from edge.tracing.requests import RequestServer
from edge.tracing.retention import Retention
from edge.tracing.service import TracingService
from edge.tracing.settings import TraceSettings
from edge.tracing.subjects import SubjectRequests
from edge.tracing.tokens import Tokens
from edge.tracing.workers import Workers

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("/etc/edge/trace.toml")


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    options = commands.parser(DEFAULT_CONFIG).parse_args(args)
    cli.set_up_logging(options.verbose)
    work = options.work if options.command not in (None, "run") else _run
    return cli.run(lambda: int(work(options)))


def _run(options: argparse.Namespace) -> int:
    keep_to_ourselves()
    settings = config.load(options.config, TraceSettings)
    beside = options.config.parent
    clock = SystemClock()
    notifier = Notifier()
    with ExitStack() as stack:
        keys = read_keys(settings.keys.private_key_files, beside)
        tokens = Tokens(read_key(config.secret_path(settings.keys.token_secret_file, beside)))
        storage = _open(settings.storage.url, settings.storage.password_file, beside, stack)
        database = _open(settings.index.url, settings.index.password_file, beside, stack)
        database.migrate("edge.tracing")
        register = _register(settings, beside)
        places = register.places if register is not None else Places()
        index, cases, workers = Index(database, places), Cases(database), Workers(database)
        questions = Questions(
            database,
            places,
            margin_ms=round(settings.questions.clock_error_s * 1000),
            minimum_ms=round(settings.questions.minimum_minutes * 60_000),
        )
        boxes = StoredBoxes(storage, database)
        audit = Audit(Path(settings.desk.audit_file), clock, _say)
        desk = Desk(
            workers=workers,
            cases=cases,
            questions=questions,
            places=places,
            tokens=tokens,
            keys=keys,
            boxes=boxes,
            audit=audit,
        )
        officer = Officer(
            requests=SubjectRequests(database),
            index=index,
            questions=questions,
            cases=cases,
            places=places,
            tokens=tokens,
            keys=keys,
            audit=audit,
        )
        server = RequestServer(Path(settings.desk.socket), [desk, officer], workers, clock)
        stack.callback(server.close)
        indexer = Indexer(
            lambda after, limit: feed.read(storage, after, limit),
            index,
            keys,
            tokens,
            lambda: _bases(settings, beside),
            newest=lambda: feed.newest(storage),
            batch_scans=settings.index.batch_scans,
        )
        retention = Retention(
            index,
            cases,
            questions,
            boxes,
            audit,
            clock,
            days=settings.index.retention_days,
            known_time=lambda: latest_known(storage),
        )
        looks = [indexer.look_again, *([register.look] if register is not None else [])]
        service = TracingService(server, indexer, retention, clock, looks)
        log.info("opening what is sealed to %s", ", ".join(keys.ids))
        notifier.ready()
        with cli.stop_signals() as stopping:
            while not stopping():
                service.step()
                notifier.watchdog()
        notifier.stopping()
    return 0


def _say(head: Head) -> None:
    """The journal, which another machine may keep, has the end of the audit after each entry."""
    log.info("audit entry %d has the hash %s", head.entries, head.hash)


def _open(url: str, password_file: str, beside: Path, stack: ExitStack) -> Database:
    password = config.secret(password_file, beside) if password_file else ""
    database = Database(url, password)
    stack.callback(database.close)
    return database


def _register(settings: TraceSettings, beside: Path) -> RegisterFile | None:
    file = settings.desk.register_file
    return RegisterFile(beside / file) if file else None


def _bases(settings: TraceSettings, beside: Path) -> Sequence[LegalBasis] | None:
    if not settings.basis.required:
        return None
    verifier = Verifier(read_key(config.secret_path(settings.basis.key_file, beside)))
    bases, wrong = read_bases(beside / settings.basis.folder, verifier)
    for err in wrong:
        log.warning("%s", err)
    if not bases:
        raise ConfigError(
            f"{beside / settings.basis.folder}: no legal basis is there, and without one nothing"
            " may be opened; put the signed document there"
        )
    return bases


if __name__ == "__main__":
    sys.exit(main())
