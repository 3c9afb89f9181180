"""A small D-FINE (Peng et al. 2024) that finds handwritten digits in scenes; docs/adr/0007 says why this detector."""

from pathlib import Path
from typing import Any, cast

from zoo_starters.card import write_card
from zoo_starters.digit_detector import label_names, measure_detector, train_detector
from zoo_starters.digits import ORIGIN
from zoo_starters.starter import Measured, Starter, Training, items_measured
from zoo_starters.training import Plan

__all__ = ["DFINE_MINI_DIGITS", "configuration"]

NAME = "dfine-mini-digits"
SEED = 7
STEPS = 3000
BATCH = 8
PEAK_RATE = 1.2e-3
WEIGHT_DECAY = 1e-4

BACKBONE_WIDTHS = (16, 32, 64)
# The backbone's stages that are looked at, and how many pixels a step in each is.
STAGES, STRIDES = (2, 3), (8, 16)
WIDTH = 64
HEADS = 4
DECODER_LAYERS = 2
QUERIES = 30


def _train(packages: Path, folder: Path, steps: int) -> None:
    trained = train_detector(folder, configuration(), Plan(SEED, steps, BATCH, PEAK_RATE, WEIGHT_DECAY), NAME)
    write_card(folder, NAME, trained, STEPS, _measure(packages, folder, items_measured(steps, STEPS)))


def _measure(packages: Path, folder: Path, most: int | None = None) -> tuple[Measured, ...]:
    return measure_detector(folder, SEED, most)


def configuration() -> Any:
    """D-FINE as small as this: about 0.4 million parameters."""
    from transformers import DFineConfig, RTDetrResNetConfig

    backbone = cast(Any, RTDetrResNetConfig)(
        embedding_size=BACKBONE_WIDTHS[0],
        hidden_sizes=BACKBONE_WIDTHS,
        depths=[1] * len(BACKBONE_WIDTHS),
        layer_type="basic",
        out_indices=list(STAGES),
    )
    return cast(Any, DFineConfig)(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,
        encoder_in_channels=[BACKBONE_WIDTHS[stage - 1] for stage in STAGES],
        feat_strides=list(STRIDES),
        encoder_hidden_dim=WIDTH,
        encoder_ffn_dim=2 * WIDTH,
        encoder_attention_heads=HEADS,
        encode_proj_layers=[len(STAGES) - 1],
        hidden_expansion=0.5,
        d_model=WIDTH,
        decoder_in_channels=[WIDTH] * len(STAGES),
        decoder_ffn_dim=2 * WIDTH,
        decoder_attention_heads=HEADS,
        decoder_layers=DECODER_LAYERS,
        num_feature_levels=len(STAGES),
        num_queries=QUERIES,
        num_denoising=QUERIES,
        **label_names(),
    )


DFINE_MINI_DIGITS = Starter(
    name=f"zoo/{NAME}",
    task="object-detection",
    origin=f"trained on scenes of {ORIGIN}",
    carriers=(),
    recipe=1,
    make=Training(STEPS, _train, _measure),
)
