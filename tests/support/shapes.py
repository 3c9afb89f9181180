"""Pictures of squares and discs in COCO's form, and a detector so small that it learns them within seconds."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import DFineConfig, DFineForObjectDetection, RTDetrImageProcessorPil, RTDetrResNetConfig

__all__ = ["LABELS", "shape_scenes", "tiny_dfine"]

SIDE = 64
SHAPE_MIN, SHAPE_MAX = 14, 26
# As COCO's own, categories have gaps.
LABELS = {3: "square", 7: "disc"}


def shape_scenes(folder: Path, *, seed: int = 0, **splits: int) -> Path:
    """A dataset with so many pictures in each split, of one or two shapes each; returns `folder`."""
    for number, (split, pictures) in enumerate(splits.items()):
        _split(folder / split, pictures, np.random.default_rng((seed, number)))
    return folder


def tiny_dfine(directory: Path, *, seed: int = 0) -> Path:
    """A D-FINE of 0.1 million parameters with ten queries for one label, "thing"; returns `directory`."""
    widths, width = (8, 16, 32), 32
    backbone = RTDetrResNetConfig(
        embedding_size=widths[0],
        hidden_sizes=list(widths),
        depths=[1, 1, 1],
        layer_type="basic",
        out_indices=[2, 3],
    )
    config = DFineConfig(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,
        encoder_in_channels=list(widths[1:]),
        feat_strides=[8, 16],
        encoder_hidden_dim=width,
        encoder_ffn_dim=2 * width,
        encoder_attention_heads=4,
        encode_proj_layers=[1],
        hidden_expansion=0.5,
        d_model=width,
        decoder_in_channels=[width] * 2,
        decoder_ffn_dim=2 * width,
        decoder_attention_heads=4,
        decoder_layers=2,
        num_feature_levels=2,
        num_queries=10,
        num_denoising=10,
        id2label={0: "thing"},
        label2id={"thing": 0},
    )
    torch.manual_seed(seed)
    DFineForObjectDetection(config).save_pretrained(directory)
    RTDetrImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(directory)
    return directory


def _split(folder: Path, pictures: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    images, annotations = list[dict[str, object]](), list[dict[str, object]]()
    for number in range(pictures):
        picture = Image.fromarray(rng.integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(1, 3))):
            side = int(rng.integers(SHAPE_MIN, SHAPE_MAX))
            x, y = (int(at) for at in rng.integers(0, SIDE - side, 2))
            category = int(rng.choice(list(LABELS)))
            edges = (x, y, x + side - 1, y + side - 1)
            if LABELS[category] == "square":
                draw.rectangle(edges, fill=(230, 60, 40))
            else:
                draw.ellipse(edges, fill=(40, 90, 230))
            annotations.append({"image_id": number, "category_id": category, "bbox": [x, y, side, side]})
        name = f"{number}.png"
        picture.save(folder / name)
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
    categories = [{"id": id, "name": name} for id, name in LABELS.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
