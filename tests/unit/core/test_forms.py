"""Multipart forms, which browsers make of files, are no pictures and no sounds: nobody parses them."""

import time

import pytest

from modelzoo.errors import InvalidArgument
from modelzoo.media.audio import decode_audio
from modelzoo.media.image import decode_image

FORMS = {
    "a huge boundary": b"--" + b"-" * 5_000_000 + b"\r\n\r\nx",
    "a boundary of blanks": b"--" + b" " * 5_000_000 + b"\r\n\r\nx",
    "many parts": b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n" * 100_000 + b"--b--",
    "no end": b"--b\r\nContent-Disposition: form-data; name=a; filename=" + b'"' * 1_000_000,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_is_refused_at_once_however_it_is_built(form: bytes) -> None:
    began = time.thread_time()
    with pytest.raises(InvalidArgument, match="multipart form") as picture:
        decode_image(form)
    with pytest.raises(InvalidArgument, match="multipart form") as sound:
        decode_audio(form, 16_000)
    assert time.thread_time() - began < 1
    assert (picture.value.reason, sound.value.reason) == ("IMAGE_INVALID", "AUDIO_INVALID")
