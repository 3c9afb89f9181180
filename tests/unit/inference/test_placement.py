"""Number formats and memory."""

from pathlib import Path

import pytest

from modelzoo.errors import ResourceExhausted
from zoo_inference.placement import Placement, has_fast_bfloat16, place


@pytest.mark.parametrize(
    ("dtype_bytes", "fast", "expected"),
    [
        ({"F32": 80}, False, Placement(widened=False, size_bytes=80)),
        ({"BF16": 50}, False, Placement(widened=True, size_bytes=100)),
        ({"BF16": 40, "F32": 20}, False, Placement(widened=True, size_bytes=100)),
        ({"BF16": 51}, False, Placement(widened=False, size_bytes=51)),
        ({"BF16": 50}, True, Placement(widened=False, size_bytes=50)),
        ({"F16": 50}, True, Placement(widened=True, size_bytes=100)),
        ({}, False, Placement(widened=False, size_bytes=0)),
    ],
)
def test_half_precision_is_widened_where_it_fits_and_helps(
    dtype_bytes: dict[str, int], fast: bool, expected: Placement
) -> None:
    assert place(dtype_bytes, 100, fast_bfloat16=fast) == expected


def test_what_fits_in_no_form_is_too_large() -> None:
    with pytest.raises(ResourceExhausted, match=r"101 bytes.*100") as caught:
        place({"BF16": 101}, 100, fast_bfloat16=False)
    assert caught.value.metadata == {"size_bytes": "101", "budget_bytes": "100"}


def test_matrix_units_are_read_from_the_cpu(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    assert not has_fast_bfloat16(info)
    info.write_text("flags : fpu avx512_bf16\n")
    assert not has_fast_bfloat16(info)
    info.write_text("flags : fpu amx_bf16 amx_tile\n")
    assert has_fast_bfloat16(info)
