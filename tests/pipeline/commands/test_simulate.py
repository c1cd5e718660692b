import json
from pathlib import Path

from click.testing import CliRunner

from pipeline.cli import main

SMALL = ["--preset", "tiny", "--set", "days=4", "--set", "searches=200"]


def simulate(*arguments: str):
    return CliRunner().invoke(main, ["simulate", *arguments])


def test_a_shop_is_written_and_summed_up_in_a_table(tmp_path: Path) -> None:
    result = simulate(*SMALL, "--out", str(tmp_path / "shop"))
    assert result.exit_code == 0, result.output
    assert "impression" in result.stdout
    assert (tmp_path / "shop" / "events" / "day-2025-03-04.jsonl.gz").is_file()


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    result = simulate(*SMALL, "--out", str(tmp_path / "shop"), "--json", "--seed", "4")
    summary = json.loads(result.stdout)
    assert summary["eval_start"] == "2025-03-04T00:00:00Z"
    facts = json.loads((tmp_path / "shop" / "shop.json").read_text())
    assert facts["simulated"] is True
    assert facts["settings"]["seed"] == 4
    assert facts["events"] == summary["events"]


def test_a_given_catalog_is_sold(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,title,category\n1,Oak desk,Home > Desks\n2,Pine desk,Home > Desks\n3,Red lamp,Light\n")
    result = simulate(*SMALL, "--catalog", str(items), "--out", str(tmp_path / "shop"), "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["items"], summary["notes"]) == (3, [])


def test_a_catalog_without_categories_is_said_to_teach_little(tmp_path: Path) -> None:
    rows = [f"{n},Oak desk {n}," for n in range(9)]
    for name, last, words in (
        ("none", "9,Red lamp,", ["10 of the 10 items (100%) have no category", "teach a model little"]),
        ("few", "9,Red lamp,Light", ["9 of the 10 items (90%) have no category"]),
    ):
        (tmp_path / f"{name}.csv").write_text("\n".join(["item_id,title,category", *rows, last, ""]))
        result = simulate(*SMALL, "--catalog", str(tmp_path / f"{name}.csv"), "--out", str(tmp_path / name))
        assert result.exit_code == 0, result.output
        notes = json.loads((tmp_path / name / "shop.json").read_text())["notes"]
        for word in words:
            assert word in result.stdout
            assert word in notes[0]


def test_a_catalog_all_of_one_category_is_said_so_too(tmp_path: Path) -> None:
    rows = "".join(f'{n},"Oak desk {n}",Home > Desks\n' for n in range(10))
    (tmp_path / "items.csv").write_text("item_id,title,category\n" + rows)
    result = simulate(*SMALL, "--catalog", str(tmp_path / "items.csv"), "--out", str(tmp_path / "shop"), "--json")
    assert "have the category 'Home > Desks'" in json.loads(result.stdout)["notes"][0]


def test_bad_input_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    for arguments, message in (
        (["--preset", "esci"], "say which with --catalog"),
        (["--catalog", str(tmp_path / "none.csv")], "there is no catalog file"),
        ([*SMALL, "--set", "page.slot=3"], "did you mean `slots`?"),
    ):
        result = simulate(*arguments, "--out", str(tmp_path / "shop"))
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.output
    assert not (tmp_path / "shop").exists()


def test_only_force_replaces_a_directory_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    refused = simulate(*SMALL, "--out", str(tmp_path))
    assert refused.exit_code == 2
    assert "note.txt" in refused.stderr
    assert simulate(*SMALL, "--out", str(tmp_path), "--force").exit_code == 0
