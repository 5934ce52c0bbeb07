"""`edge-infer serve`: one bundle behind HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edge_infer.cli.grouped import DECIDING
from edge_infer.cli.options import BundleOption, PrevalenceOption, ProviderOption, SiteOption, VariantOption
from edge_infer.cli.terminal import note

TOKEN_VARIABLE = "EDGE_INFER_TOKEN"
LIMITS = "Limits"
ACCESS = "Who may use it"


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to bind to.", rich_help_panel=ACCESS)] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, rich_help_panel=ACCESS)] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="File with the token that requests must carry; needed unless only this machine can reach the address.",
            show_default=f"the variable {TOKEN_VARIABLE}",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Diagnoses at the same time, one thread each.",
            show_default="all processors that this process may use",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option("--queue", min=0, help="Requests that may wait; the next gets 429.", rich_help_panel=LIMITS)
    ] = 8,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", min=1, help="Of a picture's file; more gets 413.", rich_help_panel=LIMITS)
    ] = 20_000_000,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Of a picture; more gets 413.", rich_help_panel=LIMITS)
    ] = 50_000_000,
    wait_seconds: Annotated[
        float,
        typer.Option("--wait-seconds", min=0.0, help="For a free worker; longer gets 503.", rich_help_panel=LIMITS),
    ] = 10.0,
    stop_seconds: Annotated[
        float,
        typer.Option(
            "--stop-seconds", min=1.0, help="For requests under way when it is stopped.", rich_help_panel=LIMITS
        ),
    ] = 30.0,
    bundle: BundleOption = None,
    operating_point: Annotated[
        str | None,
        typer.Option(
            "--operating-point",
            metavar="NAME",
            help="Decision threshold by name; `edge-infer inspect` lists them.",
            show_default="the bundle's own",
            rich_help_panel=DECIDING,
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            "--abstain",
            metavar="SHARE",
            help="Leave this share of least certain pictures undecided.",
            show_default="every picture is decided",
            rich_help_panel=DECIDING,
        ),
    ] = None,
    prevalence: PrevalenceOption = None,
    site: SiteOption = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
) -> None:
    """Answer POST /v1/diagnose over HTTP.

    Send a picture's bytes as the body. The page at / describes the service, /openapi.json for programs; /health and
    /metrics watch it. No picture is kept or logged. SIGTERM stops it after the requests under way.
    """
    import cv2

    from edge_infer.diagnoser import Diagnoser
    from edge_infer.engines.threads import available_threads
    from edge_infer.serve.server import serve as run
    from edge_infer.serve.settings import Settings, check_access

    settings = Settings(
        host=host,
        port=port,
        token=_token(token_file),
        workers=workers or available_threads(),
        queue=queue,
        max_bytes=max_bytes,
        wait_seconds=wait_seconds,
        stop_seconds=stop_seconds,
    )
    check_access(settings)
    cv2.setNumThreads(1)
    with Diagnoser.load(
        bundle,
        providers=provider or None,
        threads=1,
        variant=variant,
        operating_point=operating_point,
        abstain=abstain,
        prevalence=prevalence,
        max_pixels=max_pixels,
        site=site,
    ) as diagnoser:
        diagnoser.warmup()
        note(f"http://{host}:{port}/ with bundle {diagnoser.manifest.name}, {settings.workers} workers")
        run(diagnoser, settings)


def _token(file: Path | None) -> str | None:
    from edge_infer.errors import InputError

    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The token file '{file}' cannot be read: {error}.", "Check its path and permissions."
        ) from error
