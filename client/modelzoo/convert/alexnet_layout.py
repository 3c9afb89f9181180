"""torchvision's AlexNet: five convolutions among `features`, three linear layers in `classifier`."""

from modelzoo.convert.torchvision_layout import Entry, Layout, Shapes

__all__ = ["alexnet_layout"]

# Place in `features`, kernel, and channels where the file does not say.
CONVOLUTIONS = ((0, 11, 64), (3, 5, 192), (6, 3, 384), (8, 3, 256), (10, 3, 256))
POOLED_AREA = 36
CLASSIFIER_SIZE, LABELS = 4096, 1000


def alexnet_layout(shapes: Shapes) -> Layout:
    """The AlexNet whose widths and number of classes are those of the state dict."""

    def rows(name: str, otherwise: int) -> int:
        shape = shapes.get(name, ())
        return shape[0] if shape else otherwise

    entries: dict[str, Entry] = {}

    def add(name: str, new: str, shape: tuple[int, ...]) -> None:
        entries[f"{name}.weight"] = Entry(f"{new}.weight", shape)
        entries[f"{name}.bias"] = Entry(f"{new}.bias", shape[:1])

    widths: list[int] = []
    before = 3
    for number, (place, kernel, otherwise) in enumerate(CONVOLUTIONS):
        after = rows(f"features.{place}.weight", otherwise)
        add(f"features.{place}", f"alexnet.convolutions.{number}", (after, before, kernel, kernel))
        widths.append(after)
        before = after
    hidden, labels = rows("classifier.1.weight", CLASSIFIER_SIZE), rows("classifier.6.weight", LABELS)
    add("classifier.1", "classifier.1", (hidden, before * POOLED_AREA))
    add("classifier.4", "classifier.4", (hidden, hidden))
    add("classifier.6", "classifier.6", (labels, hidden))
    return Layout(
        described=f"an AlexNet of {labels} classes",
        model_type="alexnet",
        architecture="AlexNetForImageClassification",
        settings={"hidden_sizes": widths, "classifier_size": hidden},
        entries=entries,
        label_count=labels,
    )
