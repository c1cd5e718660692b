import threading

from schema.files import write_whole


def test_a_reader_finds_no_half_file_while_it_is_rewritten(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([number]) * 500_000 for number in range(4)]
    write_whole(str(path), contents[0])
    writers = [
        threading.Thread(target=lambda own=own: [write_whole(str(path), own) for _ in range(20)]) for own in contents
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
