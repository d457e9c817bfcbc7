"""Installing a package of the checkout for a test."""

import subprocess
import sys


def pip_install(source, target):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*command, str(target), str(source)], check=True, timeout=240)
