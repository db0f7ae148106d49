# SPDX-License-Identifier: Apache-2.0
"""Builds the Python module over the installed library, which pkg-config finds."""

import os
import subprocess
import sys

from setuptools import Extension, setup


def pkg_config(option):
    command = [os.environ.get("PKG_CONFIG", "pkg-config"), option, "tactus"]
    try:
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"setup.py: {error}\n"
                 "Install Tactus first; PKG_CONFIG_PATH names the folder of its tactus.pc.")


setup(
    name="tactus",
    version=pkg_config("--modversion").strip(),
    description="Embeddable LSM-tree storage engine whose compaction keeps time",
    license="Apache-2.0",
    python_requires=">=3.11",
    ext_modules=[
        Extension(
            "tactus",
            sources=["batch.c", "calls.c", "events.c", "iterator.c", "module.c", "observe.c",
                     "open.c", "pool.c", "run.c", "snapshot.c", "store.c", "tree.c"],
            depends=["module.h"],
            extra_compile_args=["-std=c11", "-fvisibility=hidden",
                                *pkg_config("--cflags").split()],
            extra_link_args=pkg_config("--libs").split(),
            py_limited_api=True,
        )
    ],
    packages=["tactus-stubs"],
    package_data={"tactus-stubs": ["*.pyi"]},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
