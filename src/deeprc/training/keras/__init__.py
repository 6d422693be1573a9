"""Keras on TensorFlow, trained on the ranks of a task by averaging gradients over its communicator."""

from deeprc.training.keras.backend import IMPORTS, load_keras
from deeprc.training.keras.batches import Batches
from deeprc.training.keras.loop import Epoch, Training, fit
from deeprc.training.keras.models import load_model, save_model

__all__ = ["IMPORTS", "Batches", "Epoch", "Training", "fit", "load_keras", "load_model", "save_model"]
