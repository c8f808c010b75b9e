"""Where does a Vision Transformer look?

>>> import vit_demo
>>> checkpoint = vit_demo.load("flowers")
>>> analysis = vit_demo.explain(checkpoint, "photo.jpg", method="rollout")
>>> analysis.predictions[0].label, analysis.heatmap.shape
"""

from vit_demo.analysis import Analysis, PreparedPhoto, explain, prepare
from vit_demo.checkpoints import Checkpoint, load

__all__ = ["Analysis", "Checkpoint", "PreparedPhoto", "explain", "load", "prepare"]
