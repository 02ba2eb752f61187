"""Records of every form that people have: what is read, what is refused and why, and with which id."""

import bz2
import gzip
import json
import lzma
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeact_train.config.prepare import ReadingSettings
from codeact_train.data.records import Record, Unreadable, parse, read_lines, read_records, values

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
USER, REPLY = {"role": "user", "content": "ünï"}, {"role": "assistant", "content": "ja\n"}
RECORDS = [{"id": f"r{i}", "conversations": [USER, {**REPLY, "content": f"ja {i}"}]} for i in range(5)]
LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS)


def ids(path: Path) -> list[str | None]:
    """Ids of all records; a record that cannot be read fails."""
    found = [item for _, item in read_records(path, ReadingSettings())]
    assert all(isinstance(item, Record) for item in found), found
    assert [item.conversations[0].content for item in found if isinstance(item, Record)] == ["ünï"] * len(found)
    return [item.id for item in found]


def read(record: Any, **rules: Any) -> Record | Unreadable:
    return parse(json.dumps(record).encode() + b"\n", ReadingSettings.model_validate(rules))


def turns(record: Any, **rules: Any) -> list[tuple[str, str]]:
    """Roles and contents of a record that can be read."""
    found = read(record, **rules)
    assert isinstance(found, Record), found
    return [(turn.role, turn.content) for turn in found.conversations]


def refused(record: Any, **rules: Any) -> tuple[str, str | None, str]:
    found = read(record, **rules)
    assert isinstance(found, Unreadable)
    return found.reason, found.id, found.detail


def _zstd(data: bytes) -> bytes:
    half = len(data) // 2
    return b"".join(pyarrow.compress(part, codec="zstd", asbytes=True) for part in (data[:half], data[half:]))


TEXTS: dict[str, bytes] = {
    "lines": LINES.encode(),
    "no_last_newline": LINES.rstrip().encode(),
    "crlf": LINES.replace("\n", "\r\n").encode(),
    "blank_lines": ("\n \n" + LINES.replace("\n", "\n\n")).encode(),
    "bom": b"\xef\xbb\xbf" + LINES.encode(),
    "utf16": LINES.encode("utf-16"),
    "utf16_without_mark": LINES.encode("utf-16-be"),
    "utf32": LINES.encode("utf-32"),
    "array": json.dumps(RECORDS, indent=1, ensure_ascii=False).encode(),
    "array_on_one_line": json.dumps(RECORDS).encode(),
    "array_after_blanks": b"\n  " + json.dumps(RECORDS).encode(),
    "two_arrays": (json.dumps(RECORDS[:2]) + "\n" + json.dumps(RECORDS[2:])).encode(),
    "pretty": "".join(json.dumps(record, indent=2) + "\n" for record in RECORDS).encode(),
    "pretty_utf16_bom": "".join(json.dumps(record, indent=2) + "\n" for record in RECORDS).encode("utf-16"),
    "gzip": gzip.compress(LINES.encode(), mtime=0),
    "two_gzips": gzip.compress(LINES[:300].encode(), mtime=0) + gzip.compress(LINES[300:].encode()),
    "zstd": _zstd(LINES.encode()),
    "bzip2": bz2.compress(LINES.encode()),
    "xz": lzma.compress(LINES.encode()),
    "gzip_array_utf16": gzip.compress(json.dumps(RECORDS).encode("utf-16")),
}


@pytest.mark.parametrize("form", TEXTS)
@pytest.mark.parametrize("name", ["records.jsonl", "records.gz"])
def test_a_text_is_read_by_its_content_and_not_by_its_name(form: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(TEXTS[form])
    assert ids(tmp_path / name) == ["r0", "r1", "r2", "r3", "r4"]


def test_tables_are_read(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    table = pyarrow.Table.from_pylist(RECORDS)
    pyarrow.parquet.write_table(table, tmp_path / "table", row_group_size=2)
    with pyarrow.OSFile(str(tmp_path / "file"), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    with pyarrow.OSFile(str(tmp_path / "stream"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    Dataset.from_list(RECORDS).save_to_disk(tmp_path / "folder", num_shards=2)
    for name in ("table", "file", "stream", "folder"):
        assert ids(tmp_path / name) == ["r0", "r1", "r2", "r3", "r4"]
        assert [place for place, _ in read_lines(tmp_path / name)] == [1, 2, 3, 4, 5]
    DatasetDict({"train": Dataset.from_list(RECORDS)}).save_to_disk(tmp_path / "splits")
    assert len(ids(tmp_path / "splits" / "train")) == 5
    with pytest.raises(ValueError, match=r"a data set with splits; give .*splits:train"):
        ids(tmp_path / "splits")
    with pytest.raises(ValueError, match=r"save_to_disk of datasets did not write; .*:SPLIT"):
        ids(tmp_path)


def test_progress_adds_up_to_the_size(tmp_path: Path) -> None:
    for form in ("lines", "gzip", "array", "utf16"):
        seen: list[int] = []
        (tmp_path / form).write_bytes(TEXTS[form])
        list(read_lines(tmp_path / form, seen.append))
        assert sum(seen) == len(TEXTS[form])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(LINES.encode(), mtime=0)[:-40], "cannot be decompressed"),
        (_zstd(LINES.encode())[:-20], "cannot be decompressed"),
        (b"PK\x03\x04rest", "a zip archive; unpack it"),
        (LINES.encode("utf-16")[:-1], "not utf-16"),
        (b"PAR1 and nothing else", "cannot be read as Parquet"),
        (b'[{"id": 1}, {"id": }]' + b" " * 100, r"record 2: .*nothing after this can be read"),
    ],
)
def test_a_damaged_file_is_refused_by_name(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=said) as refusal:
        list(read_lines(tmp_path / "bad.jsonl"))
    assert str(tmp_path / "bad.jsonl") in str(refusal.value)


def test_places_are_lines_or_numbers_in_an_array(tmp_path: Path) -> None:
    first = json.dumps(RECORDS[0], indent=2)
    (tmp_path / "pretty").write_text(f"\n{first}\n" + '{"id": }\n' + json.dumps(RECORDS[1], indent=2) + "\n")
    (tmp_path / "array").write_text(json.dumps(RECORDS, indent=1))
    (tmp_path / "cut").write_text(json.dumps(RECORDS, indent=1)[:-30])
    (tmp_path / "open").write_text(json.dumps(RECORDS[:2])[:-1])
    broken = len(first.splitlines()) + 2
    assert [place for place, _ in read_lines(tmp_path / "pretty")] == [2, broken, broken + 1]
    assert [place for place, _ in read_lines(tmp_path / "array")] == [1, 2, 3, 4, 5]
    for name, place in (("cut", 5), ("open", 3)):
        last = list(read_records(tmp_path / name, ReadingSettings()))[-1]
        assert last[0] == place and isinstance(last[1], Unreadable) and last[1].reason == "incomplete_line"
    broken_item = list(read_records(tmp_path / "pretty", ReadingSettings()))[1][1]
    assert isinstance(broken_item, Unreadable) and broken_item.reason == "not_json"


def test_a_broken_first_line_hides_no_other(tmp_path: Path) -> None:
    for first in ("{broken", '{"id": "half",', '{"id": "half", "conv', "[", "]"):
        (tmp_path / "r.jsonl").write_text(f"{first}\n{LINES}")
        found = [item for _, item in read_records(tmp_path / "r.jsonl", ReadingSettings())]
        assert [item.id for item in found if isinstance(item, Record)] == ["r0", "r1", "r2", "r3", "r4"], first
        assert any(isinstance(item, Unreadable) for item in found) or first in "[]"


@settings(deadline=None, max_examples=40)
@given(
    items=st.lists(st.dictionaries(st.text(max_size=5), st.text(alphabet='a"\\[]{},\n é', max_size=30)), max_size=8),
    block=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 2]),
    array=st.booleans(),
)
def test_values_are_split_at_any_block_size(
    items: list[dict[str, str]], block: int, indent: int | None, array: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "values.json"
    dumped = [json.dumps(item, indent=indent, ensure_ascii=False) for item in items]
    path.write_text(f"[{','.join(dumped)}]" if array else "\n".join(["{\n}", *dumped]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "BLOCK_CHARS", block)
        found = [json.loads(raw) for _, raw in read_lines(path)]
    assert found == (items if array else [{}, *items])


def test_a_long_array_is_read_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.json"
    item = json.dumps({"messages": [USER, {**REPLY, "content": "x" * 10_000}]})
    with path.open("w") as file:
        file.write("[" + f"{item}, " * 1199 + item + "]")
    tracemalloc.start()
    count = sum(1 for _ in read_lines(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1200 and path.stat().st_size > 12e6
    assert peak < 8e6


SAID = [("user", "ünï"), ("assistant", "ja\n")]


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": [USER, REPLY]},
        {"messages": [USER, REPLY], "tools": None, "system": None},
        {"conversation": [{"from": "human", "value": "ünï"}, {"from": "gpt", "value": "ja\n"}]},
        {"conversations": [{"role": "User", "content": "ünï"}, {"role": "Assistant", "content": "ja\n"}]},
        {"messages": json.dumps([USER, REPLY])},
        {"messages": {"role": ["user", "assistant"], "content": ["ünï", "ja\n"]}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "ü"}, "nï"]}, {**REPLY, "name": "me"}]},
        {"messages": [USER, {"role": "assistant", "content": [{"type": "output_text", "text": "ja\n"}]}]},
        {"messages": [{**USER, "train": None}, {**REPLY, "tool_calls": None, "value": None}]},
        {"messages": [USER, REPLY], "tools": "[]"},
        {"messages": [USER, REPLY], "tools": ["search"]},
        {"messages": [{**USER, "constraints": "none"}, {**REPLY, "height": 3}], "split": "train"},
    ],
)
def test_one_conversation_in_many_forms(record: dict[str, Any]) -> None:
    assert turns(record) == SAID
    assert read(record) == read({"conversations": [USER, REPLY]})  # also the same id


def test_a_system_text_beside_the_turns_comes_first() -> None:
    share = [{"from": "human", "value": "ünï"}, {"from": "gpt", "value": "ja\n"}]
    assert turns({"system": "act", "conversations": share}) == [("system", "act"), *SAID]
    both = [{"from": "system", "value": "act"}, *share]
    assert turns({"system": "act", "conversations": both}) == [("system", "act"), *SAID]
    assert "keep one" in refused({"system": "other", "conversations": both})[2]
    assert turns({"messages": [{"role": "developer", "content": "act"}, USER, REPLY]}) == [("system", "act"), *SAID]


def test_ids_are_those_of_the_file_or_of_the_content() -> None:
    assert [read({"id": name, "messages": [USER, REPLY]}).id for name in ("a", 17, "")] == ["a", "17", ""]
    one, same, other = (read({"messages": [USER, reply]}) for reply in (REPLY, dict(REPLY), {**REPLY, "content": "no"}))
    assert one.id == same.id == "5a4c7d36f3bc9a44"
    assert other.id != one.id
    assert refused({"id": True, "messages": [USER, REPLY]})[:2] == ("bad_record", None)


@pytest.mark.parametrize(
    ("record", "reason", "said"),
    [
        ({"id": "a"}, "bad_record", "conversations: Field required"),
        ({"instruction": "x", "output": "y"}, "bad_record", r"Field required (keys here: instruction, output)"),
        ([USER], "bad_record", "record: Input should be an object"),
        ({"id": "a", "messages": [USER, REPLY], "outcome": {}, "protocol": {}, "sampling": {}}, "bad_record", "select"),
        ({"id": "a", "conversations": []}, "bad_record", "conversations"),
        ({"id": "a", "conversations": 5}, "bad_record", "conversations: Input should be"),
        ({"id": "a", "messages": [{"role": "critic", "content": "x"}]}, "bad_record", "conversations.0.role"),
        ({"id": "a", "messages": [USER, {"role": "assistant", "content": None}]}, "bad_record", "valid string"),
        ({"id": "a", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "bad_record", "image_url"),
        ({"id": "a", "messages": [USER, {**REPLY, "content": " \n"}]}, "empty_reply", "turn 1 is an assistant turn"),
        ({"id": "a", "messages": [USER, {**REPLY, "train": False}]}, "mask_key", "turn 1 has train=false"),
        ({"id": "a", "messages": [USER, {**REPLY, "wieght": 0}]}, "mask_key", "wieght=0, which is no key"),
        ({"id": "a", "messages": [USER, {**REPLY, "weigth": 0}]}, "mask_key", "mask_keys.weigth=weight"),
        ({"id": "a", "messages": [USER, {**REPLY, "loss": 0}]}, "mask_key", "loss=0"),
        ({"id": "a", "messages": [USER, {**REPLY, "loss_mask": [1]}]}, "mask_key", "loss_mask=[1]"),
        ({"id": "a", "messages": [USER, {**REPLY, "isTrainable": True}]}, "mask_key", "isTrainable=true"),
        ({"id": "a", "messages": [USER, REPLY], "weight": 0.5}, "mask_key", "the record has weight=0.5"),
        ({"id": "a", "messages": [USER, {"role": "tool", "content": "3"}, REPLY]}, "tool_calls", "the role 'tool'"),
        ({"id": "a", "messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name":
            "add", "arguments": "{}"}}]}]}, "tool_calls", "turn 1 calls add; set prepare.reading.tool_calls=text"),
        ({"id": "a", "messages": [USER, REPLY], "tools": [{"name": "add"}]}, "tool_calls", "offers 1 tools"),
        ({"id": "a", "conversations": [{"from": "human", "value": "x"}, {"from": "function_call", "value": "{}"}]},
            "tool_calls", "turn 1 calls a tool"),
    ],
)  # fmt: skip
def test_what_would_be_trained_otherwise_than_it_says_is_refused(record: Any, reason: str, said: str) -> None:
    found = refused(record)
    assert found[0] == reason
    assert said in found[2]
    has_conversation = isinstance(record, dict) and len(record) > 1 and "id" in record
    assert found[1] == ("a" if has_conversation else None)


def test_mask_keys_have_the_meaning_that_is_set() -> None:
    record = {"messages": [USER, {**REPLY, "train": False}, USER, {**REPLY, "train": True}, {**REPLY, "loss": 0.5}]}
    found = read(record, mask_keys={"train": "weight", "loss": "weight"})
    assert isinstance(found, Record)
    assert [turn.weight for turn in found.conversations] == [None, 0.0, None, 1.0, 0.5]
    ignored = read(record, mask_keys={"train": "ignore", "loss": "ignore"})
    assert isinstance(ignored, Record) and {turn.weight for turn in ignored.conversations} == {None}
    assert "loss=0.5" in refused(record, mask_keys={"train": "weight"})[2]
    text = {"messages": [USER, {**REPLY, "train": "no"}]}
    assert "as a number or a bool" in refused(text, mask_keys={"train": "weight"})[2]
    twice = {"messages": [USER, {**REPLY, "train": 1, "weight": 0}]}
    assert "give one of them" in refused(twice, mask_keys={"train": "weight"})[2]


def test_an_empty_reply_is_context_or_trained_on_purpose() -> None:
    empty = {"role": "assistant", "content": ""}
    assert turns({"messages": [USER, {**empty, "weight": 0}, USER, REPLY]})[1] == ("assistant", "")
    assert turns({"messages": [USER, empty]}, empty_replies="train")[1] == ("assistant", "")


def test_tool_calls_become_text_by_the_rule() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "é": [2]}'}}
    openai = {
        "tools": [{"type": "function", "function": {"name": "add"}}],
        "messages": [
            {"role": "system", "content": "act"},
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "3"},
            {"role": "tool", "tool_call_id": "d", "content": [{"type": "text", "text": "4"}]},
            {"role": "assistant", "content": "Once more.", "tool_calls": [call, call]},
            {"role": "tool", "content": "5"},
            REPLY,
        ],
    }
    written = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "é": [2]}}\n</tool_call>'
    expected = [
        ("system", 'act\n\n# Tools\n\n<tools>\n{"type": "function", "function": {"name": "add"}}\n</tools>'),
        ("user", "ünï"),
        ("assistant", written),
        ("user", "<tool_response>\n3\n</tool_response>\n<tool_response>\n4\n</tool_response>"),
        ("assistant", f"Once more.\n{written}\n{written}"),
        ("user", "<tool_response>\n5\n</tool_response>"),
        ("assistant", "ja\n"),
    ]
    assert turns(openai, tool_calls="text") == expected
    share = [
        {"from": "human", "value": "ünï"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1, "é": [2]}}'},
        {"from": "observation", "value": "3"},
        {"from": "gpt", "value": "ja\n"},
    ]
    tools = json.dumps(openai["tools"])
    assert turns({"conversations": share, "tools": tools}, tool_calls="text") == [
        ("system", '# Tools\n\n<tools>\n{"type": "function", "function": {"name": "add"}}\n</tools>'),
        ("user", "ünï"),
        ("assistant", written),
        ("user", "<tool_response>\n3\n</tool_response>"),
        ("assistant", "ja\n"),
    ]
    former = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "not json"}}
    result = {"role": "function", "name": "f", "content": "x", "weight": 0}
    assert turns({"messages": [USER, former, result, REPLY]}, tool_calls="text")[1:3] == [
        ("assistant", '<tool_call>\n{"name": "f", "arguments": "not json"}\n</tool_call>'),
        ("user", "<tool_response>\nx\n</tool_response>"),
    ]


def test_reasoning_is_left_out_and_noted_or_written() -> None:
    beside = {"messages": [USER, {**REPLY, "reasoning_content": "so"}]}
    parts = {"messages": [USER, {"role": "assistant", "content": [
        {"type": "reasoning", "value": "so"}, {"type": "text", "value": "ja\n"}]}]}  # fmt: skip
    for record in (beside, parts):
        found = read(record)
        assert isinstance(found, Record) and found.reasoning_left_out
        assert turns(record) == SAID
        assert turns(record, reasoning="text")[1] == ("assistant", "<think>\nso\n</think>\n\nja\n")


def test_half_of_a_surrogate_pair_is_named() -> None:
    reason, name, detail = refused({"id": "half", "messages": [{"role": "user", "content": "\ud83d"}, REPLY]})
    assert (reason, name) == ("not_json", "half") and "surrogate" in detail


def test_another_encoding_is_read_when_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(LINES.encode("latin-1"))
    (place, first), *_ = read_records(path, ReadingSettings())
    assert place == 1 and isinstance(first, Unreadable) and "--encoding" in first.detail
    named = [item.id for _, item in read_records(path, ReadingSettings(), encoding="latin-1")]
    assert named == ["r0", "r1", "r2", "r3", "r4"]
    with pytest.raises(ValueError, match="encoding=klingon: not known"):
        list(read_records(path, ReadingSettings(), encoding="klingon"))


@pytest.mark.parametrize(
    ("name", "records", "without_tools"),
    [("glaive_toolcall_en_demo.json.gz", 300, 109), ("reason_tool_use_demo_50.jsonl.gz", 50, 2)],
)
def test_real_sets_are_read(name: str, records: int, without_tools: int) -> None:
    path = DATA / "sft_general" / name
    if not path.is_file():
        pytest.skip(f"needs conversations with tools at {path} (CODEACT_DATA names another folder)")
    items = [item for _, item in read_records(path, ReadingSettings())]
    assert [item.reason for item in items if isinstance(item, Unreadable)] == ["tool_calls"] * (records - without_tools)
    all_read = [item for _, item in read_records(path, ReadingSettings(tool_calls="text"))]
    assert len(all_read) == records and all(isinstance(item, Record) for item in all_read)
