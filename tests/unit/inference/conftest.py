"""What holds for every test of models: two threads, no progress bars, no network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the worker does

import torch
from transformers.utils import logging

torch.set_num_threads(2)
logging.disable_progress_bar()
