"""What units are commanded and what settings they should have; the record of who asked for it."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy

from edge.clock import utc_seconds, utc_text
from edge.config import merged
from edge.errors import ConfigError, ControlError
from edge.messages import Answer, Command, CommandAction, Config, revision_of
from edge.storage.ahead import ahead_of
from edge.storage.control.again import AskedAgain
from edge.storage.control.groups import SCOPES, Groups
from edge.storage.database import Database
from edge.unit_settings import check_wished

#: A command that was sent and not answered is sent again after this long; units do none twice.
AGAIN_S = 15.0
#: Desired settings are sent again after this long without an answer, and after this long when
#: they are on trial, which is over by then.
CONFIG_AGAIN_S, TRIAL_AGAIN_S = 15.0, 150.0
#: What is neither answered nor refused.
OPEN = ("waiting", "sent", "executing")

Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class CommandRow:
    """One command, and what became of it."""

    id: str
    unit: str
    action: str
    #: What was asked for: the unit, or the scope of which it was one.
    scope: str
    asked_by: str
    asked: str
    expires: str
    state: str
    changed: str
    reason: str
    detail: str


@dataclass(frozen=True)
class ConfigRow:
    """The desired settings of a unit, and what it made of them."""

    unit: str
    desired: str
    running: str
    state: str
    reason: str
    settings: Tables


def newest_commands(connection: sqlalchemy.Connection, unit: str, most: int) -> list[CommandRow]:
    """The last commands of *unit*, the newest first."""
    columns = ", ".join(CommandRow.__annotations__)
    rows = connection.execute(
        sqlalchemy.text(
            f"SELECT {columns} FROM command WHERE unit = :unit ORDER BY asked DESC, id LIMIT :most"
        ),
        {"unit": unit, "most": most},
    )
    return [CommandRow(*row) for row in rows]


class Control:
    """The tables of control, in the database of the storage. For one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("edge.storage.control")
        self.groups = Groups(database)
        self.again = AskedAgain(database)

    def command(
        self, scope: str, action: CommandAction, by: str, now: str, expires_s: float
    ) -> list[CommandRow]:
        """Ask each unit of *scope*, a unit's name or one of SCOPES, to do *action*.

        Raises ControlError for what means no unit that was ever heard of.
        """
        return [
            self._ask_for(unit, scope, action, by, now, expires_s)
            for unit in self.groups.units_of(scope)
        ]

    def _ask_for(
        self, unit: str, scope: str, action: CommandAction, by: str, now: str, expires_s: float
    ) -> CommandRow:
        row = CommandRow(
            id=uuid.uuid4().hex,
            unit=unit,
            action=action,
            scope=scope,
            asked_by=by,
            asked=now,
            expires=utc_text(utc_seconds(now) + expires_s),
            state="waiting",
            changed=now,
            reason="",
            detail="",
        )
        self._change(
            "INSERT INTO command"
            " (id, unit, action, scope, asked_by, asked, expires, state, changed) VALUES"
            " (:id, :unit, :action, :scope, :asked_by, :asked, :expires, :state, :changed)",
            **vars(row),
        )
        return row

    def commands(self, unit: str | None = None, limit: int = 100) -> list[CommandRow]:
        """The newest commands, of all units or of *unit*, newest first."""
        where = "WHERE unit = :unit" if unit else ""
        columns = ", ".join(CommandRow.__annotations__)
        rows = self._ask(
            f"SELECT {columns} FROM command {where} ORDER BY asked DESC, id LIMIT :limit",
            limit=limit,
            **({"unit": unit} if unit else {}),
        )
        return [CommandRow(*row) for row in rows]

    def find(self, command_id: str) -> CommandRow:
        """The command *command_id*."""
        columns = ", ".join(CommandRow.__annotations__)
        (row,) = self._ask(f"SELECT {columns} FROM command WHERE id = :id", id=command_id)
        return CommandRow(*row)

    def due_commands(self, now: str) -> Iterator[tuple[str, str, Command]]:
        """(area, unit, command) of what is to be sent now to units that are there.

        What has expired is said to be so and not sent, and so is what a clock that was ahead says
        was asked in the future: it would never expire.
        """
        again = utc_text(utc_seconds(now) - AGAIN_S)
        for command_id, unit, area, action, asked, expires, state, changed, unit_state in self._ask(
            "SELECT c.id, c.unit, u.area, c.action, c.asked, c.expires, c.state, c.changed, u.state"
            " FROM command c JOIN unit u ON u.unit = c.unit WHERE c.state IN ('waiting', 'sent')"
            " ORDER BY c.asked"
        ):
            if expires <= now or asked > ahead_of(now):
                self._change(
                    "UPDATE command SET state = 'expired', changed = :now WHERE id = :id"
                    " AND state IN ('waiting', 'sent')",
                    id=command_id,
                    now=now,
                )
            elif unit_state == "online" and (state == "waiting" or changed <= again):
                yield (
                    area,
                    unit,
                    Command(unit=unit, id=command_id, action=action, asked=asked, expires=expires),
                )

    def command_failed(self, command_id: str, reason: str, now: str) -> None:
        """The command could not be sent, for *reason*, and never will be."""
        self._change(
            "UPDATE command SET state = 'failed', reason = :reason, changed = :now"
            " WHERE id = :id AND state IN ('waiting', 'sent')",
            id=command_id,
            reason=reason,
            now=now,
        )

    def command_sent(self, command_id: str, now: str) -> None:
        """The command was given to the broker."""
        self._change(
            "UPDATE command SET state = 'sent', changed = :now"
            " WHERE id = :id AND state IN ('waiting', 'sent')",
            id=command_id,
            now=now,
        )

    def answered(self, unit: str, answer: Answer, now: str) -> None:
        """*unit* says what became of a command of its own, or of its desired settings."""
        if answer.about == "command":
            self._change(
                "UPDATE command SET state = :state, reason = :reason, changed = :now,"
                " detail = CASE WHEN :detail = '' THEN detail ELSE :detail END"
                # An answer that comes late does not open again what has ended.
                " WHERE id = :id AND unit = :unit AND state IN ('waiting', 'sent', 'executing',"
                " 'expired')",
                id=answer.to,
                unit=unit,
                state=answer.state,
                reason=answer.reason,
                detail=answer.detail,
                now=now,
            )
            # It empties itself now, and says nothing any more.
            self._change(
                "UPDATE unit SET state = 'retired' WHERE unit = :unit AND EXISTS (SELECT 1 FROM"
                " command WHERE id = :id AND unit = :unit AND action = 'retire'"
                " AND state = 'successful')",
                unit=unit,
                id=answer.to,
            )
            return
        self._config_row(unit, now)
        self._change(
            "UPDATE unit_config SET state = :state, reason = :reason, changed = :now,"
            # An answer that comes late does not begin again what has ended.
            " revision = CASE WHEN :state = 'successful' THEN :to ELSE revision END"
            " WHERE unit = :unit AND asked = :to"
            " AND (:state <> 'executing' OR state NOT IN ('successful', 'failed'))",
            unit=unit,
            to=answer.to,
            state=answer.state,
            reason=answer.reason,
            now=now,
        )

    def run_by(self, revisions: Mapping[str, str], now: str) -> None:
        """Units say, as at each connection, by which desired settings each of them runs."""
        # Ten thousand come back at once after an outage: one transaction, in which mostly nothing
        # changes; and two collectors wait for each other's rows in the same order.
        rows = [
            {"unit": unit, "revision": revision, "now": now}
            for unit, revision in sorted(revisions.items())
        ]
        sql = (
            "INSERT INTO unit_config (unit, revision, changed) VALUES (:unit, :revision, :now)"
            " ON CONFLICT (unit) DO UPDATE SET revision = excluded.revision"
            " WHERE unit_config.revision <> excluded.revision"
        )
        if rows:
            with self._database.writing("control units") as connection:
                connection.execute(sqlalchemy.text(sql), rows)

    def desire(self, scope: str, settings: Tables, by: str, now: str) -> None:
        """From now on *settings* are desired of *scope*, in place of those before; {} for none.

        Raises ControlError for a scope that is none, and for settings that no unit would take.
        """
        kind, _, name = scope.partition(":")
        if scope != "all" and (kind not in ("area", "place", "group", "unit") or not name):
            raise ControlError(f"scope {scope!r} must be {SCOPES}")
        try:
            check_wished(settings)
        except ConfigError as err:
            raise ControlError(f"no unit would take that: {err}") from None
        self._change(
            "INSERT INTO desired (scope, settings, set_by, set_at)"
            " VALUES (:scope, :settings, :by, :now)",
            scope=scope,
            settings=json.dumps(settings, sort_keys=True),
            by=by,
            now=now,
        )

    def history(self, limit: int = 100) -> list[tuple[str, str, str, str]]:
        """(when, who, scope, settings) of what was desired, newest first."""
        return self._ask(
            "SELECT set_at, set_by, scope, settings FROM desired ORDER BY number DESC LIMIT :limit",
            limit=limit,
        )

    def desired(self, scope: str) -> Tables:
        """What is desired of *scope* itself."""
        return self._scopes().get(scope, {})

    def configs(self) -> list[ConfigRow]:
        """The desired settings of each unit, by name."""
        scopes, groups = self._scopes(), self.groups.of_units()
        return [
            ConfigRow(unit, revision_of(wished), running, state, reason, wished)
            for unit, area, place, running, state, reason in self._ask(
                "SELECT u.unit, u.area, u.place, coalesce(c.revision, ''), coalesce(c.state, ''),"
                " coalesce(c.reason, '') FROM unit u LEFT JOIN unit_config c ON c.unit = u.unit"
                " ORDER BY u.unit"
            )
            for wished in [_wished(scopes, area, place, groups.get(unit, []), unit)]
        ]

    def due_configs(self, now: str) -> Iterator[tuple[str, str, Config]]:
        """(area, unit, settings) of what is to be sent now to units that are there and differ."""
        scopes, groups = self._scopes(), self.groups.of_units()
        rows = self._ask(
            "SELECT u.unit, u.area, u.place, c.revision, c.asked, c.sent, c.state, c.number"
            " FROM unit u JOIN unit_config c ON c.unit = u.unit WHERE u.state = 'online'"
            " ORDER BY u.unit"
        )
        for unit, area, place, running, asked, sent, state, last in rows:
            wished = _wished(scopes, area, place, groups.get(unit, []), unit)
            revision = revision_of(wished)
            again_s = TRIAL_AGAIN_S if state == "executing" else CONFIG_AGAIN_S
            waits = utc_text(utc_seconds(now) - again_s) < sent <= ahead_of(now)
            if revision == running or (revision == asked and (state == "failed" or waits)):
                continue
            # By the time, so that a storage begun anew is believed too; and never back.
            number = max(last + 1, int(utc_seconds(now) * 1000))
            yield (
                area,
                unit,
                Config(unit=unit, number=number, revision=revision, settings=wished),
            )

    def config_sent(self, wished: Config, now: str) -> None:
        """The desired settings *wished* were given to the broker."""
        self._change(
            "UPDATE unit_config SET asked = :revision, number = :number, sent = :now, state = '',"
            " reason = '' WHERE unit = :unit",
            unit=wished.unit,
            revision=wished.revision,
            number=wished.number,
            now=now,
        )

    def _scopes(self) -> dict[str, Tables]:
        return {
            scope: json.loads(settings)
            for scope, settings in self._ask(
                "SELECT scope, settings FROM desired d WHERE number ="
                " (SELECT max(number) FROM desired n WHERE n.scope = d.scope)"
            )
        }

    def _config_row(self, unit: str, now: str) -> None:
        self._change(
            "INSERT INTO unit_config (unit, revision, changed) VALUES (:unit, '', :now)"
            " ON CONFLICT (unit) DO NOTHING",
            unit=unit,
            now=now,
        )

    def _change(self, sql: str, **values: object) -> None:
        with self._database.writing("control units") as connection:
            connection.execute(sqlalchemy.text(sql), values)

    def _ask(self, sql: str, **values: object) -> list[Any]:
        with self._database.reading("control units") as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(sql), values)]


def _wished(
    scopes: dict[str, Tables], area: str, place: str, groups: list[str], unit: str
) -> Tables:
    """What is desired of one unit: the nearer scope wins, key by key; of groups the later name."""
    named = [f"group:{group}" for group in groups]
    names = ("all", f"area:{area}", f"place:{place}", *named, f"unit:{unit}")
    return merged(scopes.get(name, {}) for name in names)
