"""The photo upload, handing over the file untouched."""


import gradio as gr
from gradio.data_classes import ImageData
from gradio.image_utils import decode_base64_to_file

class PhotoInput(gr.Image):
    """gr.Image that gives Python the uploaded file's path without opening it.

    Gradio would open the file itself, and answer a text file or a HEIC photo with a bare "Error".
    Here `read_photo` opens it, turns it upright, and says what is wrong in a sentence.
    """

    # The browser draws it as what it is, a gr.Image. It has no __init__ of its own, because Gradio
    # reads from that signature what to tell the browser.
    is_template = True

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The file's path, which is made first if the picture came as a data URL."""
        if payload is None:
            return None
        if payload.url and payload.url.startswith("data:"):
            return decode_base64_to_file(payload.url, self.GRADIO_CACHE, self.format)
        return payload.path
    from collections.abc import Callable, Sequence
    from typing import TYPE_CHECKING, Any, Literal

    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
