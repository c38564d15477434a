"""The server of the page, asked by plain HTTP."""

import http.client

import pytest

from helpers.page.server import main, serve


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    home = tmp_path_factory.mktemp("served")
    (home / "secret.txt").write_text("not served")
    folder = home / "results"
    (folder / "page").mkdir(parents=True)
    (folder / "index.html").write_text("<p>é</p>", "utf-8")
    (folder / "page" / "core.js").write_text("const plumbline = {};")
    for name in ("alone", "data"):  # beside results/: a study with a folder of its own, and what is none
        (home / name / "figures").mkdir(parents=True)
        (home / name / "figures" / "a.png").write_text("a picture")
        (home / name / "notes.txt").write_text("not served")
    (folder / "alone").mkdir()
    (folder / "alone" / "manifest.json").write_text("{}")
    server, _ = serve(folder, 0)
    yield server.server_port
    server.shutdown()
    server.server_close()


def asked(port, path, host=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    content = answer.status, answer.read().decode(), headers
    connection.close()
    return content


def test_it_serves_the_page_as_what_it_is(port):
    status, text, headers = asked(port, "/")
    assert (status, text, headers["content-type"]) == (200, "<p>é</p>", "text/html; charset=utf-8")
    status, _, headers = asked(port, "/page/core.js?x=1")
    assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")


def test_it_serves_the_pictures_of_a_study_with_a_folder_beside_it(port):
    assert asked(port, "/alone/figures/a.png")[:2] == (200, "a picture")
    for path in ("/data/figures/a.png", "/alone/notes.txt", "/alone/figures/../notes.txt", "/alone/figures/b.png"):
        assert asked(port, path)[0] == 404


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/page/../../secret.txt", "/page/", "/none"])
def test_it_serves_nothing_else(port, path):
    assert asked(port, path)[0] == 404


def test_own_sweeps_that_are_not_there_are_an_empty_script(port):
    status, text, headers = asked(port, "/local/page/studies.js")
    assert (status, text, headers["content-type"]) == (200, "", "text/javascript; charset=utf-8")


def test_a_page_whose_name_leads_here_reads_nothing(port):
    assert asked(port, "/", host=f"evil.example:{port}")[0] == 403
    assert asked(port, "/", host=f"localhost:{port}")[0] == 200


def test_it_changes_nothing(port):
    assert asked(port, "/", method="POST")[0] == 501


def test_it_listens_on_this_machine_only(tmp_path):
    server, _ = serve(tmp_path, 0)
    assert server.socket.getsockname()[0] == "127.0.0.1"
    server.shutdown()
    server.server_close()


def test_where_the_port_is_taken_it_takes_another(port, tmp_path):
    server, address = serve(tmp_path, port)
    assert server.server_port != port
    assert address == f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_folder_without_a_page_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
