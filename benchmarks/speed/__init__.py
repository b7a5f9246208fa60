"""Where the time of a training step goes, beside Keras' own loop and PyTorch: `python -m benchmarks.speed`."""
