"""Recipes: the ways in which jobs train. A recipe is a small file of its own with typed settings, a docstring that
says what it does to which layers, and the few functions in which recipes differ; all else is the loop's.

Here: text-classification, token-classification, sentence-embeddings, sentence-similarity, causal-lm,
image-classification, object-detection, speech-recognition.

Recipes of others are found by the entry points of the group `zoo.recipes` in the trainer's environment; each names an
object of `Recipe`. A module of a recipe is imported by the agent, too, and so imports torch in its functions alone.
"""

from zoo_trainer.recipes.learner import Learner, Measurement, Start
from zoo_trainer.recipes.recipe import Recipe, find_recipe, known_recipes
from zoo_trainer.recipes.settings import Precision, Schedule, TrainingSettings

__all__ = [
    "Learner",
    "Measurement",
    "Precision",
    "Recipe",
    "Schedule",
    "Start",
    "TrainingSettings",
    "find_recipe",
    "known_recipes",
]
