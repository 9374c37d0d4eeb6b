"""Downloads cut into lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.batches import LineSplitter


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line and line.strip())), st.data())
def test_lines_come_whole_however_the_body_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    """Blank ones are left out, and the last one needs no end."""
    body = b"\n\n".join(lines) + data.draw(st.sampled_from([b"", b"\n", b"\n \n"]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    splitter, found = LineSplitter(), []
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        found += splitter.feed(body[begin:end])
    assert found + splitter.end() == lines
