import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.errors import InvalidArgument
from modelzoo.reference import VERSION_MAX, Alias, Digest, Reference, Version, parse

TAIL = string.ascii_letters + string.digits + "._-"
SHA = "0123456789abcdef" * 4

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", fullmatch=True)
aliases = st.from_regex(r"[a-z][a-z0-9._-]{0,95}", fullmatch=True).filter(lambda a: a != "latest")
selectors = st.one_of(
    st.none(),
    aliases.map(Alias),
    st.integers(1, VERSION_MAX).map(Version),
    st.text("0123456789abcdef", min_size=64, max_size=64).map(Digest),
)
references = st.builds(Reference, names, names, selectors)


@given(references)
def test_parsing_the_written_form_gives_the_same_reference(reference: Reference):
    assert parse(str(reference)) == reference


@given(st.text(alphabet=st.sampled_from(TAIL + "/@:\n\x00 ü\u202e０"), max_size=40))
def test_whatever_is_accepted_is_ascii_and_has_one_canonical_form(text: str):
    try:
        reference = parse(text)
    except InvalidArgument:
        return
    assert text.isascii()
    assert parse(str(reference)) == reference
    assert str(parse(str(reference))) == str(reference)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bert", Reference("zoo", "bert")),
        ("zoo/bert", Reference("zoo", "bert")),
        ("bert@latest", Reference("zoo", "bert")),
        ("bert@7", Reference("zoo", "bert", Version(7))),
        ("Team-1/BERT.base_v2@prod", Reference("Team-1", "BERT.base_v2", Alias("prod"))),
        ("a/b@v1.0-rc_2", Reference("a", "b", Alias("v1.0-rc_2"))),
        (f"a/b@sha256:{SHA}", Reference("a", "b", Digest(SHA))),
        ("a..b/c.", Reference("a..b", "c.")),
        (f"a/b@{VERSION_MAX}", Reference("a", "b", Version(VERSION_MAX))),
        ("a/b@latest2", Reference("a", "b", Alias("latest2"))),
        ("9/9", Reference("9", "9")),
    ],
)
def test_what_the_grammar_allows_is_parsed(text: str, expected: Reference):
    assert parse(text) == expected


def test_no_suffix_and_latest_are_the_same_reference():
    assert str(parse("a/b@latest")) == str(parse("a/b")) == "a/b"


def test_a_bare_name_is_written_with_its_namespace():
    assert str(parse("bert@3")) == "zoo/bert@3"


def test_longest_names_alias_and_digest_pass_and_one_more_character_does_not():
    long = "a" * 96
    assert str(parse(f"{long}/{long}@{long}")) == f"{long}/{long}@{long}"
    for text in (f"a/{long}a", f"{long}a/a", f"a/a@{long}a"):
        with pytest.raises(InvalidArgument):
            parse(text)


BAD = [
    *["", "/", "@", "a/", "/a", "a//b", "a/b/c", "/a/b", "a/b/", "a/b@", "@prod", "a/@prod", "/@7"],
    *["..", ".", "../..", "../../etc/passwd", "a/..", "../a", "a/../b", "/etc/passwd", "./a", ".a", "a/.b", "-a", "_a"],
    *["a\x00", "a/b\x00", "a/b@p\x00", "a\n", "a/b\n", "a/b@prod\n", "a/b@7\n", "a\r\nb", "a/b@\n7"],
    *[f"a/b@sha256:{SHA}\n", "a/b@\x7f"],
    *[" a", "a ", "a/b @7", "a/ b", "a/b@ 7", "a\tb", "a b/c", "a\u00a0b", "a\u200bb", "a\u202eb", "\u202ea/b"],
    *["\ufeffa", "a\u2066b/c"],
    *["ａ/b", "a／b", "a/b＠7", "a/b@７", "a/b@٧", "é/b", "a/bé", "a/b@é", "а/b", "ſ/b", "\u212a/b", "a/b@²"],
    *["a/b@0", "a/b@00", "a/b@01", "a/b@-1", "a/b@+1", "a/b@1.0", "a/b@1e3", "a/b@0x1", "a/b@1_000", "a/b@7a"],
    *[f"a/b@{2**31}", f"a/b@{2**63}", "a/b@" + "9" * 200, "a/b@9999999999"],
    *["a/b@Prod", "a/b@PROD", "a/b@LATEST", "a/b@_x", "a/b@.x", "a/b@-x", "a/b@a/b", "a/b@a@b", "a/b@@a", "a/b@a:b"],
    *["a/b@sha256:", f"a/b@sha256:{SHA[:-1]}", f"a/b@sha256:{SHA}0", f"a/b@sha256:{SHA.upper()}", f"a/b@SHA256:{SHA}"],
    *[f"a/b@sha512:{SHA}", f"a/b@md5:{SHA}", f"a/b@sha256:{'g' * 64}", f"a/b@sha256:{SHA[:-1]}０", f"a/b@sha256 {SHA}"],
    *["a:b", "a\\b", "a/b?x=1", "a/b#7", "a/b%2f", "%2e%2e/a", "http://a/b", "file:///etc/passwd", "a/b;ls"],
    *["a/$(ls)", "~/a", "a/*"],
    *["a/" + "b" * 97, "a" * 97 + "/b", "x" * 100_000, "a/b@" + "c" * 97, "\ud800/a", "a/\udfff"],
]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text[:40]))
def test_a_malformed_reference_is_refused(text: str):
    with pytest.raises(InvalidArgument) as caught:
        parse(text)
    assert caught.value.reason == "REFERENCE_INVALID"
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1200


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reference("..", "a"),
        lambda: Reference("a", "b/c"),
        lambda: Alias("latest"),
        lambda: Alias("7"),
        lambda: Version(0),
        lambda: Version(2**31),
        lambda: Digest(SHA.upper()),
    ],
)
def test_no_invalid_reference_can_be_built_by_hand(make):
    with pytest.raises(InvalidArgument):
        make()


def test_the_message_says_how_to_write_the_part_that_is_wrong():
    with pytest.raises(InvalidArgument, match="without leading zeros"):
        parse("a/b@007")
    with pytest.raises(InvalidArgument, match="64 lower-case"):
        parse("a/b@sha256:abc")
    with pytest.raises(InvalidArgument, match="namespace/name"):
        parse("a/b/c")
