"""`edge-infer kiosk`: the web application for a stand, from this machine to its own browser."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge_infer.cli.grouped import DECIDING
from edge_infer.cli.options import BundleOption, PrevalenceOption


class Language(StrEnum):
    """Languages of the kiosk's texts."""

    ENGLISH = "en"
    GERMAN = "de"
    SPANISH = "es"


def kiosk(
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8490,
    idle_seconds: Annotated[
        int,
        typer.Option(
            "--idle-seconds",
            metavar="N",
            min=10,
            max=3600,
            help="Seconds without a touch or a key, after which the last person's picture is cleared.",
        ),
    ] = 90,
    language: Annotated[
        Language | None,
        typer.Option("--language", help="Language at the start.", show_default="the browser's"),
    ] = None,
    save: Annotated[
        bool,
        typer.Option(
            "--save/--no-save",
            help="Whether people may save a report as a file; on a shared device the next person could open it.",
        ),
    ] = True,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="DIR",
            help="Write the files into a new folder for another web server, and serve nothing.",
        ),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    bundle: BundleOption = None,
    operating_point: Annotated[
        str | None,
        typer.Option(
            "--operating-point",
            metavar="NAME",
            help="Which of the bundle's thresholds decides; `edge-infer inspect` lists them.",
            show_default="the bundle's own choice",
            rich_help_panel=DECIDING,
        ),
    ] = None,
    prevalence: PrevalenceOption = None,
) -> None:
    """Serve the kiosk to this machine's browser, until Ctrl-C.

    A page for a stand in a clinic or at a fair: camera or file, outline, answer in plain words, print or save.
    Everything is computed in the browser; no picture reaches this command. After the first visit it works without
    this command too, and takes over a newer version when it is idle.

    It serves static files on 127.0.0.1 only and is NOT for the internet: there is no encryption and no log-in.
    For a web server of your own, --export writes the same files into a folder, to be served over HTTPS.

    Research use only; not a medical device.
    """
    import webbrowser

    from edge_infer.bundle.store import load_bundle
    from edge_infer.kiosk.app import find_app
    from edge_infer.kiosk.server import KioskServer
    from edge_infer.kiosk.site import Settings, make_site, save_site

    settings = Settings(operating_point, idle_seconds, save, language.value if language else None, prevalence)
    site = make_site(find_app(), load_bundle(bundle), settings)
    if export is not None:
        save_site(site, export)
        typer.echo(
            f"written      {export}: release {site.release[:12]}, {len(site.files)} files, {site.size / 1e6:.1f} MB"
        )
        return
    server = KioskServer(site, port)
    typer.echo(f"kiosk        {server.url}")
    typer.echo(f"release      {site.release[:12]}, {len(site.files)} files, {site.size / 1e6:.1f} MB")
    typer.echo("for          this machine only, not for the internet; Ctrl-C stops it")
    if open_browser:
        webbrowser.open(server.url)
    server.run()
    typer.echo("stopped")
