import io

from rich.console import Console

from pipeline.progress import StepList


def drawn(steps: StepList) -> list[str]:
    console = Console(file=io.StringIO(), width=60)
    console.print(steps)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_list_shows_each_state_and_the_running_steps_note():
    steps = StepList(["ExampleGen", "Transform", "Trainer", "Pusher"])
    steps.start("ExampleGen")
    steps.end("ExampleGen", "cached")
    steps.start("Transform")
    steps.end("Transform", "done")
    steps.start("Trainer")
    steps.note("epoch 3 of 10")
    lines = drawn(steps)
    assert lines[0].split(maxsplit=2) == ["≡", "ExampleGen", "unchanged, taken from cache"]
    assert lines[1].split() == ["✓", "Transform", "0.0", "s"]
    assert lines[2].split(maxsplit=4) == ["▸", "Trainer", "0.0", "s", "epoch 3 of 10"]
    assert lines[3].split() == ["·", "Pusher"]


def test_a_note_ends_with_its_step_and_waiting_steps_get_none():
    steps = StepList(["Trainer", "Pusher"])
    steps.note("nobody runs")
    steps.start("Trainer")
    steps.note("epoch 1")
    steps.end("Trainer", "failed")
    assert [step.note for step in steps.steps] == ["", ""]
    assert "epoch" not in "\n".join(drawn(steps))


def test_without_a_terminal_every_ended_step_is_one_line():
    screen = io.StringIO()
    steps = StepList(["Transform", "Trainer"])
    with steps.shown(screen):
        steps.start("Transform")
        steps.end("Transform", "done")
        steps.start("Trainer")
    assert screen.getvalue().split() == ["✓", "Transform", "done", "0.0", "s"]
