"""From a model to files that other programs compute: ONNX graphs over its weights, and their certificate."""

from segdec.export.export import Target, export

__all__ = ["Target", "export"]
