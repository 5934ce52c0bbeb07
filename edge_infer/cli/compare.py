"""`edge-infer compare`: two pictures of one lesion, and what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_infer.cli.grouped import BESIDES, SAVING
from edge_infer.cli.options import BundleOption, ProviderOption, SiteOption, ThreadsOption, VariantOption
from edge_infer.cli.terminal import limit_opencv


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="The earlier picture.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="B", help="The later one, of the same lesion.", show_default=False)],
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object in place of words.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Save both pictures side by side, the first laid on the second (PNG).",
            rich_help_panel=SAVING,
        ),
    ] = None,
    mm_per_pixel: Annotated[
        list[float] | None,
        typer.Option(
            "--mm-per-pixel",
            metavar="MM",
            help="Size of a pixel; give it twice where the second picture's is another.",
            show_default="areas are compared in pixels and aligned",
            rich_help_panel=BESIDES,
        ),
    ] = None,
    bundle: BundleOption = None,
    site: SiteOption = None,
    provider: ProviderOption = None,
    variant: VariantOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Compare two pictures of one lesion: area, outline, asymmetry, colours, probability.

    The first is laid on the second by what both show. Where that fails, or one of them has no answer, the command says
    so and compares nothing.
    """
    scales = [*(mm_per_pixel or ())]
    if len(scales) > 2:
        raise typer.BadParameter("give it once or twice.", param_hint="--mm-per-pixel")

    from edge_infer.compare.changes import compare as compare_answers
    from edge_infer.compare.show import draw_comparison, to_json, to_text
    from edge_infer.diagnoser import Diagnoser
    from edge_infer.engines.loading import start_loading
    from edge_infer.files import OutputError, make_writable_folder, write_atomically
    from edge_infer.output.picture import encode_png
    from edge_infer.steps.image import open_picture
    from edge_infer.steps.native import keep_off_stderr

    if save is not None:
        if any(Path(given).exists() and save.exists() and save.samefile(given) for given in (first, second)):
            raise OutputError(f"'{save}' is one of the given pictures.", "Give --save another name.")
        make_writable_folder(save.parent)
    limit_opencv(threads)
    keep_off_stderr()
    answers, pixels = [], []
    loading = start_loading(bundle, providers=provider or None, threads=threads, variant=variant)
    with Diagnoser.from_loading(loading, site=site, measurements=True) as diagnoser:
        for number, path in enumerate((first, second)):
            scale = scales[min(number, len(scales) - 1)] if scales else None
            answers.append(diagnoser.diagnose(path, mm_per_pixel=scale))
            pixels.append(open_picture(path).pixels)
    both = (pixels[0], pixels[1])
    found = compare_answers(answers[0], answers[1], both)
    if save is not None:
        write_atomically(save, encode_png(draw_comparison(found, both)))
    typer.echo(to_json(found) if json_output else to_text(found), nl=False)
