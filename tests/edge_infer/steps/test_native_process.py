"""A forked process decodes on its own, without another's lock and words; and no disk is needed to decode."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

WORDS = """
import os
from edge_infer.steps.native import decoding, keep_off_stderr

keep_off_stderr()
ready, begin = os.pipe()
written, tell = os.pipe()
over, leave = os.pipe()

def the_childs():
    os.read(ready, 1)
    os.write(2, b"Corrupt JPEG data: the child's own\\n")
    os.write(tell, b"x")
    os.read(over, 1)

def the_parents():
    os.write(begin, b"x")
    os.read(written, 1)

child = os.fork()
if child == 0:
    os._exit(0 if decoding(the_childs)[1] else 1)
damage = decoding(the_parents)[1]
os.write(leave, b"x")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child did not get its own words"
assert damage is None, damage
"""

LOCK = """
import os, signal, threading, time
from edge_infer.steps.native import decoding, keep_off_stderr

keep_off_stderr()
inside = threading.Event()

def slow():
    inside.set()
    time.sleep(0.3)

thread = threading.Thread(target=decoding, args=(slow,))
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    os._exit(decoding(lambda: 0)[0])
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child waits for a thread that it does not have"
assert decoding(lambda: 7)[0] == 7
"""


NO_DISK = """
import os, tempfile
from edge_infer.steps.native import decoding, keep_off_stderr

def full(*arguments, **options):
    raise OSError(28, "No space left on device")

tempfile.TemporaryFile = full
for memory in (True, False):
    keep_off_stderr()
    assert decoding(lambda: 7)[0] == 7
    if memory and hasattr(os, "memfd_create"):
        assert decoding(lambda: os.write(2, b"Corrupt JPEG data: something\\n"))[1]
        from edge_infer.steps import native
        native._printed = None
        del os.memfd_create
"""


PASSED_ON = """
import os
from edge_infer.steps.native import decoding, keep_off_stderr

keep_off_stderr()

def say(text):
    os.write(2, text.encode())

handler = "[ERROR:0@2.210] global grfmt_tiff.cpp:117 TIFF_Error JPEGPreDecode: "
for words in (
    f"{handler}Improper JPEG sampling factors 3,1\\nApparently should be 1,1.\\n",
    "[ WARN:0@4.569] global grfmt_tiff.cpp:123 TIFF_Warning TIFFReadDirectory: Unknown field\\n" * 1000,
):
    decoding(lambda: say(words))
decoding(lambda: say("another thread's line\\n"))
"""


@pytest.mark.parametrize("code", [WORDS, LOCK, NO_DISK, PASSED_ON], ids=["words", "lock", "no-disk", "passed-on"])
def test_a_process_decodes_on_its_own(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ("another thread's line\n" if code is PASSED_ON else "")
