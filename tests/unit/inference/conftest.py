"""What holds for every test of models: two threads, no progress bars, no network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
# As the worker does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from transformers.utils import logging

torch.set_num_threads(2)
logging.disable_progress_bar()
