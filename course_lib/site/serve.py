"""`course site`: serves the built site over HTTP, on this machine only."""

from __future__ import annotations

import functools
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from course_lib.site.paths import SiteError, find_project

PORTS_TO_TRY = 50


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Log nothing."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # a page built again shows at once
        super().end_headers()


def server(folder: Path, port: int = 8000) -> ThreadingHTTPServer:
    """Create a server for a folder on 127.0.0.1, at this port or the next free one."""
    handler = functools.partial(_Handler, directory=str(folder))
    for candidate in range(port, port + PORTS_TO_TRY):
        try:
            return ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError:
            continue
    raise SiteError(f"ports {port} to {port + PORTS_TO_TRY - 1} are all taken: pass another with --port")


def serve(port: int = 8000, open_browser: bool = True, root: Path | None = None) -> None:
    """Serve `_build/html` until Ctrl-C.

    Raises:
        SiteError: If there is no site or no free port.
    """
    site = find_project(root).html
    if not (site / "index.html").is_file():
        raise SiteError("there is no site yet: run `make book` (or `course book`) first")
    httpd = server(site, port)
    address = f"http://127.0.0.1:{httpd.server_address[1]}/"
    print(f"The site is at {address} (Ctrl-C ends)", flush=True)
    if open_browser:
        webbrowser.open(address)
    try:
        httpd.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        httpd.server_close()
