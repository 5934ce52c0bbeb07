"""Dermoscopy-like pictures that the project draws itself, with exact lesion masks.

They stand in for patients' pictures wherever those may not go: the repository's examples, tests, and previews of the
training pipeline. They are no medical data: each class merely leans towards its own colours, border and patterns, so
that a toy classifier has something to learn. Everything follows from the random generator that is passed in.

    python -m trainer.data.drawn examples                            # the drawn pictures in examples/
    python -m trainer.data.drawn dataset FOLDER --lesions 200        # a data set in HAM10000's layout
"""

from trainer.data.drawn.files import draw_dataset, draw_examples
from trainer.data.drawn.looks import BARE_SKIN, LOOKS, Look
from trainer.data.drawn.picture import DrawnPicture, draw_picture, second_look

__all__ = [
    "BARE_SKIN",
    "LOOKS",
    "DrawnPicture",
    "Look",
    "draw_dataset",
    "draw_examples",
    "draw_picture",
    "second_look",
]
