"""A photo upload that returns a reference to the file and never opens it."""

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData


class PhotoInput(gr.Image):
    """A gr.Image that gives Python the path of the upload without opening it.

    Gradio would open the file itself, with every available decoder, and report a text file or a
    HEIC photo only as "Error". Here `read_photo` opens it, applies its orientation, and raises a
    clear error. `GuardedBlocks` has already checked that the path may be used.
    """

    # The browser renders it as gr.Image. It has no __init__ of its own because Gradio reads the
    # component's properties from that signature.
    is_template = True

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The path by which the browser refers to the file."""
        return None if payload is None else payload.path

    def postprocess(self, value: Any) -> ImageData | None:
        """An issued reference, in Gradio's format."""
        return None if value is None else ImageData(path=str(value))
