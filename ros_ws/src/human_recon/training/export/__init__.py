"""From a checkpoint to the files that ship: ONNX in float and INT8, safetensors, reference inputs, parity figures."""
