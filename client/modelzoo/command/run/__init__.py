"""`zoo run`: does with a model what the model is for. One file a kind of task."""

from modelzoo.command.run.command import register

__all__ = ["register"]
