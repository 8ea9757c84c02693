"""What the endpoint answers to requests: JSON, and nothing else."""

import logging
import math
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from edge.clock import Clock
from edge.enrolment.service import Enrolment, Shown
from edge.enrolment.settings import LimitSettings
from edge.enrolment_exchange import (
    ENROL_PATH,
    MAX_BYTES,
    RENEW_PATH,
    WORKED_PATH,
    EnrolmentAnswer,
    EnrolmentRefusal,
    EnrolmentRequest,
    EnrolmentWorked,
    decode,
)
from edge.errors import EdgeError, EnrolmentError
from edge.limits import RateLimit

log = logging.getLogger(__name__)

#: So many requests in a row are let through before the pace is kept.
ADDRESS_BURST = 120
UNIT_BURST = 10


Asked = TypeVar("Asked", EnrolmentRequest, EnrolmentWorked)


class Endpoint:
    """The pages, so to say."""

    def __init__(self, enrolment: Enrolment, limits: LimitSettings, clock: Clock) -> None:
        self._enrolment = enrolment
        self._addresses = RateLimit(clock, ADDRESS_BURST, 60 / limits.address_per_minute)
        self._units = RateLimit(clock, UNIT_BURST, 3600 / limits.unit_per_hour)

    def asgi(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route(ENROL_PATH, self._enrol, methods=["POST"]),
                Route(RENEW_PATH, self._renew, methods=["POST"]),
                Route(WORKED_PATH, self._worked, methods=["POST"]),
            ]
        )

    async def _enrol(self, request: Request) -> Response:
        return await self._answer(request, EnrolmentRequest, self._enrolment.enrol)

    async def _renew(self, request: Request) -> Response:
        shown = _shown(request)
        if shown is None:
            return _refuse(403, "to renew, show the certificate that is to be renewed")
        return await self._answer(
            request, EnrolmentRequest, lambda asked: self._enrolment.renew(asked, shown)
        )

    async def _worked(self, request: Request) -> Response:
        shown = _shown(request)
        if shown is None:
            return _refuse(403, "show the certificate that works")
        return await self._answer(
            request, EnrolmentWorked, lambda said: self._enrolment.worked(said, shown)
        )

    async def _answer(
        self,
        request: Request,
        kind: type[Asked],
        give: Callable[[Asked], EnrolmentAnswer | EnrolmentWorked],
    ) -> Response:
        address = request.client.host if request.client else ""
        if wait_s := self._addresses.wait_s(address):
            return _later(wait_s)
        body = await _body(request)
        if body is None:
            return _refuse(413, f"a request has at most {MAX_BYTES} bytes")
        try:
            asked = decode(body, kind)
        except EnrolmentError as err:
            return _refuse(400, str(err))
        # An address as well, so that nobody uses up the turns of a unit that he only names.
        if wait_s := self._units.wait_s(f"{asked.unit} {address}"):
            return _later(wait_s)
        try:
            answer = await run_in_threadpool(give, asked)
        except EnrolmentError as err:
            log.warning("refused, from %s: %s", address, err)
            return _refuse(403, str(err))
        except EdgeError as err:
            log.error("%s", err)
            return _refuse(503, "the centre cannot do this now; try again later")
        return Response(msgspec.json.encode(answer), media_type="application/json")


async def _body(request: Request) -> bytes | None:
    """The body; None if it is too long, which is not waited for."""
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BYTES:
                return None
    except ClientDisconnect:
        return b""
    return body


def _shown(request: Request) -> Shown | None:
    """The certificate that was shown, as `ssl` tells of it; None where there is none of a unit."""
    peer: dict[str, Any] = getattr(request.state, "peer", None) or {}
    parts = [pair for level in peer.get("subject", ()) for pair in level]
    names = [str(value) for key, value in parts if key == "commonName"]
    if not len(parts) == len(names) == 1:
        return None
    return Shown(
        unit=names[0],
        serial=str(peer["serialNumber"]).lower().lstrip("0"),
        not_after=datetime.fromtimestamp(ssl.cert_time_to_seconds(peer["notAfter"]), UTC),
    )


def _later(wait_s: float) -> Response:
    refusal = _refuse(429, "asked too often; try again later")
    refusal.headers["Retry-After"] = str(math.ceil(wait_s))
    return refusal


def _refuse(status: int, why: str) -> Response:
    body = msgspec.json.encode(EnrolmentRefusal(error=why[:500]))
    return Response(body, status, media_type="application/json")
