"""Scenes of digits: what their boxes and splits promise."""

import numpy as np

from zoo_starters import scenes
from zoo_starters.scenes import Split, compose_scene

SCENES = 60


def test_a_scene_is_the_same_at_every_call_and_unlike_the_others() -> None:
    first, again, other, of_other_split = (
        compose_scene(split, number)
        for split, number in ((Split.TRAINING, 5), (Split.TRAINING, 5), (Split.TRAINING, 6), (Split.HELD_OUT, 5))
    )

    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.boxes.tolist() == again.boxes.tolist()
    assert first.pixels.tobytes() not in (other.pixels.tobytes(), of_other_split.pixels.tobytes())


def test_boxes_lie_in_the_picture_and_hardly_overlap() -> None:
    for number in range(SCENES):
        scene = compose_scene(Split.TRAINING, number)
        height, width, channels = scene.pixels.shape
        assert channels == 3
        assert 1 <= len(scene.boxes) == len(scene.labels) <= scenes.DIGITS_MAX
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, 2:] <= (width, height)).all()
        assert (scene.boxes[:, 2:] - scene.boxes[:, :2] >= 2).all()
        covered = np.zeros((height, width))
        for x0, y0, x1, y1 in scene.boxes.astype(int):
            covered[y0:y1, x0:x1] += 1
        assert (covered > 1).mean() < 0.05


def test_a_box_holds_the_ink_and_nothing_beside_it() -> None:
    """Ink stands off what it lies on, so brightness varies in a box, and hardly in the frame just outside."""
    inside: list[float] = []
    outside: list[float] = []
    for number in range(SCENES):
        scene = compose_scene(Split.TRAINING, number)
        grey = scene.pixels.mean(axis=2)
        for x0, y0, x1, y1 in scene.boxes.astype(int):
            frame = np.zeros(grey.shape, dtype=bool)
            frame[max(0, y0 - 6) : y1 + 6, max(0, x0 - 6) : x1 + 6] = True
            frame[max(0, y0 - 3) : y1 + 3, max(0, x0 - 3) : x1 + 3] = False
            inside.append(grey[y0:y1, x0:x1].std())
            outside.append(grey[frame].std())

    assert np.median(inside) > 2 * np.median(outside)


def test_all_ten_digits_occur_in_both_splits() -> None:
    for split in Split:
        labels = np.concatenate([compose_scene(split, number).labels for number in range(SCENES)])
        assert set(labels.tolist()) == set(range(10))


def test_the_example_is_a_picture_of_held_out_digits() -> None:
    picture = scenes.example(3)

    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), compose_scene(Split.HELD_OUT, 3).pixels)
