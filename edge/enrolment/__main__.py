"""The command `edge-enrol`: reads its settings, opens things, and loops."""

import argparse
import sys
from contextlib import closing
from pathlib import Path

from edge import cli, config
from edge.certificates import Authority
from edge.clock import SystemClock
from edge.enrolment.app import Endpoint
from edge.enrolment.service import Enrolment
from edge.enrolment.settings import EnrolmentSettings
from edge.enrolment_ledger import Ledger
from edge.errors import ConfigError
from edge.sealing import read_key
from edge.serving import Server, serve

DEFAULT_CONFIG = Path("/etc/edge-enrol/enrol.toml")


def main(args: list[str] | None = None) -> int:
    """Run the command with *args*; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="edge-enrol",
        description="Give units their certificates until stopped. / Cấp chứng thư cho thiết bị.",
        epilog="Exit codes: 0 done, 1 an error that the last line explains, 2 bad usage.",
    )
    cli.add_common(parser, DEFAULT_CONFIG)
    options = parser.parse_args(args)
    cli.set_up_logging(options.verbose)
    return cli.run(lambda: _run(options.config))


def _run(path: Path) -> int:
    settings = config.load(path, EnrolmentSettings)
    issuing, clock, beside = settings.issuing, SystemClock(), path.parent
    authority = Authority(_read(issuing.certificate_file, beside), _read(issuing.key_file, beside))
    with closing(Ledger(Path(issuing.ledger_file))) as ledger:
        enrolment = Enrolment(
            authority,
            ledger,
            clock,
            deployment=issuing.deployment,
            setup_key=read_key(config.secret_path(issuing.setup_key_file, beside)),
            revoked=config.secret_path(issuing.revoked_file, beside),
            days=issuing.certificate_days,
        )
        web = settings.web
        server = Server(
            Endpoint(enrolment, settings.limits, clock).asgi(),
            beside,
            host=web.host,
            port=web.port,
            certificate_file=web.certificate_file,
            key_file=web.key_file,
            clients_file=issuing.certificate_file,
        )
        return serve(server, "edge-enrol")


def _read(file: str, beside: Path) -> bytes:
    path = config.secret_path(file, beside)
    try:
        return path.read_bytes()
    except OSError as err:
        raise ConfigError(f"{path}: cannot read it: {err.strerror}") from err


if __name__ == "__main__":
    sys.exit(main())
