"""Distributed training on the ranks of a task: PyTorch with Lightning, Keras on TensorFlow."""
