"""The photo upload, handing over a reference to the file and never opening it."""

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData


class PhotoInput(gr.Image):
    """gr.Image that gives Python the path of the upload without opening it.

    Gradio would open the file itself, with every decoder there is, and answer a text file or a
    HEIC photo with a bare "Error". Here `read_photo` opens it, turns it upright, and says what is
    wrong in a sentence. Which paths may be named at all, `GuardedBlocks` has decided before.
    """

    # The browser draws it as what it is, a gr.Image. It has no __init__ of its own, because Gradio
    # reads from that signature what to tell the browser.
    is_template = True

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The path by which the browser names the file."""
        return None if payload is None else payload.path

    def postprocess(self, value: Any) -> ImageData | None:
        """A reference that the page issued, as the browser is to name it."""
        return None if value is None else ImageData(path=str(value))
