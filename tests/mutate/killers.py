"""Which tests to ask first."""

import collections
import re


def failed_tests(said):
    """The names of GoogleTest's that failed, each once."""
    return list(dict.fromkeys(re.findall(r"^\[  FAILED  \] (\S+?),?(?: \(\d+ ms\)| where .*)?$", said, re.M)))


class Killers:
    """The tests that noticed the last mutants of a file: the next one is likely to be theirs too."""

    MOST = 12
    SUITES = 2  # each loads the programs anew

    def __init__(self):
        self.of_file = collections.defaultdict(list)
        self.test_was_last = {}  # by file, whether a test noticed the last one, and not the model

    def filter(self, file):
        suites = list(dict.fromkeys(name.split(".")[0] for name in self.of_file[file]))[:self.SUITES]
        return ":".join(name for name in self.of_file[file] if name.split(".")[0] in suites)

    def noticed(self, file, said):
        names = failed_tests(said)
        self.test_was_last[file] = bool(names)
        for name in names:
            self.of_file[file] = [name, *(each for each in self.of_file[file] if each != name)][:self.MOST]
