"""Runs one Python skill of the public contract, once.

Started ahead of the call, so that the interpreter and the modules that skills use are loaded when it comes. Reads one job
(JSON) from standard input up to its end, gives the skill its `params` and a standard input of its own, and runs it as
`__main__`. Holds no secret and decides nothing: what the skill may do is decided outside of this sandbox.
"""

import atexit
import base64, binascii, calendar, collections, contextlib, copy, csv, dataclasses, datetime, decimal, email.message  # noqa: F401
import email.mime.multipart, email.mime.text, email.utils, encodings.idna, enum, errno, fractions, functools  # noqa: F401
import gzip, hashlib, heapq, hmac, html, html.parser, http.client, http.cookiejar, importlib, io, itertools  # noqa: F401
import json, logging, math, mimetypes, operator, os, pathlib, random, re, secrets, shutil, socket, ssl, statistics  # noqa: F401
import string, struct, sys, tempfile, textwrap, threading, time, traceback, types, typing, unicodedata  # noqa: F401
import urllib.error, urllib.parse, urllib.request, uuid, xml.etree.ElementTree, zlib, zoneinfo  # noqa: F401
import _strptime  # noqa: F401

# What a skill ends with that tried to reach the network without the proxy.
NO_NETWORK = 71
# The authority of the proxy, at which all TLS of this sandbox ends.
AUTHORITY = os.environ.get("SSL_CERT_FILE")
# Where the host shows what the skill requires, if it requires anything.
REQUIREMENTS = "/requirements"


def is_no_network(error):
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return True
        error = getattr(error, "reason", None) if isinstance(error, urllib.error.URLError) else error.__cause__
        if not isinstance(error, BaseException):
            return False
    return False


def trust_the_proxy():
    """Lets a context trust the proxy whatever authority the skill made it with: that of a private server is for the host to
    know, which is who connects there. Nothing but the proxy is in reach of this sandbox."""

    def trusting(method):
        @functools.wraps(method)
        def wrapped(context, *args, **kwargs):
            with contextlib.suppress(OSError):
                context.load_verify_locations(AUTHORITY)
            return method(context, *args, **kwargs)

        return wrapped

    ssl.SSLContext.wrap_socket = trusting(ssl.SSLContext.wrap_socket)
    ssl.SSLContext.wrap_bio = trusting(ssl.SSLContext.wrap_bio)


def end(code):
    """Ends without the interpreter's long farewell, once everything is written."""
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):
        try:
            step()
        except BaseException:
            code = code or 1
    os._exit(code)


def own_stdin(text):
    """What the skill reads from its standard input. A pipe holds 64 KiB; more is kept in memory, where files may be written."""
    if len(text) <= 60_000:
        reader, writer = os.pipe()
        os.write(writer, text)
        os.close(writer)
    else:
        reader = os.memfd_create("stdin")
        os.write(reader, text)
        os.lseek(reader, 0, os.SEEK_SET)
    os.dup2(reader, 0)
    os.close(reader)


def main():
    # Behind the interpreter's own modules, which nothing that is required can stand in for.
    if os.path.isdir(REQUIREMENTS):
        sys.path.append(REQUIREMENTS)
    if AUTHORITY:
        trust_the_proxy()
    # One byte says that everything is loaded.
    os.write(1, b"\x06")
    with open(0, "rb", closefd=False) as stdin:
        job = json.load(stdin)
    own_stdin(job["stdin"].encode())
    sys.stdin = open(0, "r", encoding="utf-8", closefd=False)
    random.seed()
    path = job["entrypoint"]
    folder = os.path.dirname(path)
    sys.argv = [path]
    sys.path.insert(0, folder)
    os.chdir(folder)
    module = types.ModuleType("__main__")
    module.__file__ = path
    module.__builtins__ = __builtins__
    module.params = job["params"]
    sys.modules["__main__"] = module
    try:
        with open(path, "rb") as source:
            code = compile(source.read(), path, "exec")
        exec(code, module.__dict__)
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            end(leaving.code or 0)
        print(leaving.code, file=sys.stderr)
        end(1)
    except BaseException as error:
        # The skill's own frames only.
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, frames)
        end(NO_NETWORK if is_no_network(error) else 1)
    end(0)


main()
