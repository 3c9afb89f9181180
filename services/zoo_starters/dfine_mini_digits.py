"""A small D-FINE (Peng et al. 2024) that finds handwritten digits in scenes; docs/adr/0007 says why this detector."""

from pathlib import Path
from typing import Any, cast

from zoo_starters.card import put_card
from zoo_starters.digit_pictures import label_names
from zoo_starters.digit_scenes import DIGIT_SCENES, few_scenes
from zoo_starters.learned import Learned
from zoo_starters.starter import Starter
from zoo_starters.training import deterministic

__all__ = ["DFINE_MINI_DIGITS", "QUERIES"]

SEED = 7
STEPS = 3000
PARAMETERS = {
    "batch_size": 8,
    "learning_rate": 1.2e-3,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "gradient_norm": 1.0,
}

# Every picture is stretched to this square, as RT-DETR and its kin do with theirs.
SIDE = 128
BACKBONE_WIDTHS = (16, 32, 64)
# The backbone's stages that are looked at, and how many pixels a step in each is.
STAGES, STRIDES = (2, 3), (8, 16)
WIDTH = 64
HEADS = 4
DECODER_LAYERS = 2
QUERIES = 30


def _make_base(packages: Path, folder: Path) -> None:
    from transformers import DFineForObjectDetection, RTDetrImageProcessorPil

    with deterministic(SEED):
        cast(Any, DFineForObjectDetection)(_configuration()).save_pretrained(folder)
    processor = cast(Any, RTDetrImageProcessorPil)(size={"height": SIDE, "width": SIDE}, do_convert_rgb=True)
    processor.save_pretrained(folder)
    put_card("dfine-mini-untrained", folder)


def _configuration() -> Any:
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
    name="zoo/dfine-mini-digits",
    task="object-detection",
    origin=DIGIT_SCENES.origin,
    carriers=(),
    recipe=2,
    make=Learned(
        base=Starter(
            name="zoo/dfine-mini-untrained",
            task="object-detection",
            origin="made here",
            carriers=(),
            recipe=1,
            make=_make_base,
        ),
        dataset=DIGIT_SCENES,
        few=few_scenes,
        recipe="object-detection",
        parameters=PARAMETERS,
        steps=STEPS,
        seed=SEED,
        description="D-FINE (Peng et al. 2024), very small, finds handwritten digits in pictures: upright, an eighth "
        "to a half of the picture's height, few, each in one colour that can be told from what is behind it. "
        "Photographs, printed digits and thin pen strokes were not in its training: expect digits found where there "
        "are none. Digits by E. Alpaydin and C. Kaynak (UCI Machine Learning Repository, 1998, CC BY 4.0).",
    ),
)
