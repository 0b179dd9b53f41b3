"""What computes the network: PyTorch, ONNX Runtime or OpenVINO. Each is a callable from pixels to scores."""

from segdec.backends.backend import Backend
from segdec.backends.choice import Choice, choose_backend, refusal
from segdec.backends.opening import open_backend

__all__ = ["Backend", "Choice", "choose_backend", "open_backend", "refusal"]
