"""Python calls per request: exact, so free of the noise that seconds have.

Run as a script, `calls.py bare|cadenza KEY`, in an environment as `systems.Setup` makes it, it prints how many calls
the WSGI application makes for one request of a whole answer, over a warm connection to the provider.
"""

import io
import os
import socket
import sys
import threading
from collections import Counter
from types import FrameType
from typing import Any

from load import Ask, LoadError
