"""A folder of results on 127.0.0.1, for whoever wants the page from a server: no kernel, nothing but files.

python -m helpers.page.server            serve results/ and say the link
python -m helpers.page.server FOLDER
"""

import argparse
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from helpers.progress import say

HOST = "127.0.0.1"
PORT = 8760  # so that a link that was kept works again; where it is taken, any free one
NAMES = (HOST, "localhost")  # a page elsewhere that has its own name lead here reads nothing
OWN = "/local/page/studies.js"  # the page asks for one's own sweeps whether there are some or not
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".csv": "text/csv", ".png": "image/png"}
TYPES |= {".md": "text/plain", ".ipynb": "application/json", ".xz": "application/x-xz"}


class Handler(SimpleHTTPRequestHandler):
    """Files as they are now; nothing about requests is printed."""

    extensions_map = TYPES | {"": "application/octet-stream"}  # the system's own table may have others

    def send_head(self):
        if self.headers.get("Host", "").rpartition(":")[0] not in NAMES:
            self.send_error(403, f"allowed is http://{HOST}")
            return None
        if self.path == OWN and not Path(self.translate_path(OWN)).exists():
            self.send_response(200)
            self.send_header("Content-Type", self.guess_type(OWN))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()

    def translate_path(self, path):
        """The file of an address; of a study with a folder of its own beside the served one, that in this folder.

        The page says ../sigmoid/figures/leaving.png, of which a browser leaves /sigmoid/figures/leaving.png.
        """
        found = Path(super().translate_path(path))
        folder = Path(self.directory)
        if found.exists() or not found.is_relative_to(folder):
            return str(found)
        study, *rest = found.relative_to(folder).parts or ("",)
        is_study = (folder / study / "manifest.json").is_file() and (folder.parent / study / "figures").is_dir()
        if is_study and rest and rest[0] in ("figures", "summary.csv"):
            return str(folder.parent.joinpath(study, *rest))
        return str(found)

    def guess_type(self, path):
        kind = super().guess_type(path)
        return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind

    def list_directory(self, path):
        self.send_error(404, "there is no such file")

    def end_headers(self):
        self.send_header("Cache-Control", "no-cache")  # a file that has changed is seen
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *_):
        pass


def serve(folder, port=PORT):
    """A server of a folder, in a thread that ends with the process. Returns (server, its address).

    port  0 for any free one, which it is as well where another program has this one
    """
    handler = partial(Handler, directory=str(folder))
    try:
        server = Server((HOST, port), handler)
    except OSError:
        server = Server((HOST, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://{HOST}:{server.server_port}/"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):  # a browser that has gone away
        pass


def main(arguments=None):
    """Serve until Ctrl-C. Exit code 2: there is no page in the folder."""
    parser = argparse.ArgumentParser(prog="python -m helpers.page.server", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="results", type=Path)
    parser.add_argument("--port", type=int, default=PORT, help=f"the port, 0 for any free one (default: {PORT})")
    options = parser.parse_args(arguments)
    if not (options.folder / "index.html").is_file():
        say(f"there is no page in {options.folder}; make gallery writes that of results/", error=True)
        return 2
    server, address = serve(options.folder, options.port)
    say(f"the results are at {address} until Ctrl-C")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
