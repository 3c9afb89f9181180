"""What the protos say in words, as the descriptor set carries it."""

from google.protobuf import descriptor_pb2

__all__ = ["Comments", "comments_of"]

# By the path of numbers that descriptor.proto gives each declaration: (4, 0, 2, 1) is the second field of the first
# message.
Comments = dict[tuple[int, ...], str]


def comments_of(file: descriptor_pb2.FileDescriptorProto) -> Comments:
    """The comment above each declaration of a file, on one line."""
    return {
        tuple(location.path): _words(location.leading_comments)
        for location in file.source_code_info.location
        if location.leading_comments
    }


def _words(comment: str) -> str:
    lines = [line for line in comment.splitlines() if not line.strip().startswith("buf:lint:ignore")]
    return " ".join(" ".join(lines).split())
