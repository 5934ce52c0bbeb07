"""The ASGI application: routes, checks in order, and typed errors as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from edge_infer.diagnoser import Diagnoser
from edge_infer.diagnosis import Diagnosis
from edge_infer.dicom.intake import as_picture
from edge_infer.errors import EdgeInferError, ImageError, ImageTooLargeError
from edge_infer.extras import need
from edge_infer.serve.gate import BusyError, Gate, WaitedError
from edge_infer.serve.measures import Measures
from edge_infer.serve.openapi import document, page
from edge_infer.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response


class TokenError(EdgeInferError):
    """The request carries no valid token."""

    code = "unauthorized"


class BodyError(EdgeInferError):
    """The picture did not arrive in time."""

    code = "body-timeout"


class MediaError(EdgeInferError):
    """The body is a form or JSON, not a picture."""

    code = "unsupported-media-type"


_CODES: tuple[tuple[type[EdgeInferError], int], ...] = (
    (TokenError, 401),
    (BodyError, 408),
    (ImageTooLargeError, 413),
    (MediaError, 415),
    (ImageError, 422),
    (BusyError, 429),
    (WaitedError, 503),
)
_NOT_PICTURES = ("multipart/", "application/json", "text/")  # a form is what curl calls any body
_ALWAYS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def status_of(error: EdgeInferError) -> int:
    """The HTTP status that stands for a typed error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), 500)


def record(diagnosis: Diagnosis) -> dict[str, Any]:
    """The answer's JSON: `Diagnosis.to_dict` without `source` and `error`, which a service has no use for."""
    return {key: value for key, value in diagnosis.to_dict().items() if key not in ("source", "error")}


def create_application(diagnoser: Diagnoser, settings: Settings) -> Starlette:
    """The application; it closes its threads at shutdown, and leaves the Diagnoser to its owner.

    Raises:
        ExtraNotInstalledError: the libraries of the extra [serve] are absent.
    """
    need("starlette", "serve")
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    gate = Gate(settings.workers, settings.queue, settings.wait_seconds)
    measures = Measures()
    described = document(settings, diagnoser.manifest)

    def failed(error: EdgeInferError) -> Response:
        code = status_of(error)
        extra = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "1"}, 503: {"retry-after": "5"}}.get(
            code, {}
        )
        if code in (408, 413):
            extra = {"connection": "close"}  # the rest of the body is not read
        return JSONResponse({"error": error.to_dict()}, code, {**_ALWAYS, **extra})

    async def diagnose(request: Request) -> Response:
        start = time.perf_counter()
        try:
            check_token(request.headers, settings.token)
            with gate.admitted():
                picture = as_picture(await read_body(request, settings))
                answer = await gate.run(lambda: diagnoser.diagnose(picture))
        except EdgeInferError as error:
            measures.requests.labels(str(status_of(error))).inc()
            return failed(error)
        measures.requests.labels("200").inc()
        measures.answers.labels(answer.status).inc()
        if answer.reason is not None:
            measures.reasons.labels(answer.reason.value).inc()
        measures.seconds.observe(time.perf_counter() - start)
        return Response(json.dumps(record(answer), allow_nan=False), 200, _ALWAYS, "application/json")

    async def health(request: Request) -> Response:
        bundle = diagnoser.bundle
        return JSONResponse(
            {
                "status": "ok",
                "bundle": bundle.manifest.name,
                "bundle_version": bundle.manifest.version,
                "bundle_sha256": bundle.sha256,
                "provider": diagnoser.provider,
                "held": gate.held,
                "most_held": settings.held,
            },
            200,
            _ALWAYS,
        )

    async def metrics(request: Request) -> Response:
        try:
            check_token(request.headers, settings.token)
        except TokenError as error:
            return failed(error)
        measures.held.set(gate.held)
        return Response(measures.text(), 200, _ALWAYS, measures.content_type)

    async def openapi(request: Request) -> Response:
        return JSONResponse(described, 200, _ALWAYS)

    async def index(request: Request) -> Response:
        return HTMLResponse(page(described), 200, _ALWAYS)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(gate.close)

    return Starlette(
        routes=[
            Route("/v1/diagnose", diagnose, methods=["POST"]),
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
            Route("/", index),
        ],
        lifespan=lifespan,
    )


def check_token(headers: Mapping[str, str], token: str | None) -> None:
    """Compares in constant time.

    Raises:
        TokenError: there is none, or another.
    """
    if token is None:
        return
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise TokenError("The request carries no valid token.", "Send the header: Authorization: Bearer TOKEN")


async def read_body(request: Request, settings: Settings) -> bytes:
    """The picture's bytes, no more than the limit and not slower.

    Raises:
        ImageTooLargeError, BodyError, MediaError: see each.
    """
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith(_NOT_PICTURES):
        raise MediaError(
            f"The body is '{kind}', not a picture.", "Send the picture's bytes as the body, such as image/jpeg."
        )
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > settings.max_bytes:
        raise _too_large(settings)
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_bytes:
                    raise _too_large(settings)
    except TimeoutError as error:
        raise BodyError(
            f"The picture did not arrive within {settings.body_seconds:g} seconds.", "Send it again over a faster line."
        ) from error
    return bytes(body)


def _too_large(settings: Settings) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"The picture's file is larger than {settings.max_bytes / 1e6:g} MB.", "Save it smaller, or raise --max-bytes."
    )
