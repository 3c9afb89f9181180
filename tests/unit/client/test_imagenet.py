from modelzoo.imagenet import class_labels


def test_there_are_a_thousand_different_labels_in_the_networks_order() -> None:
    labels = class_labels()
    assert len(set(labels.values())) == len(labels) == 1000
    assert (labels[0], labels[417], labels[698], labels[999]) == ("tench", "balloon", "palace", "toilet tissue")
