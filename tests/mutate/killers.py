"""Which tests to ask first."""

import collections
import re


class Killers:
    """The tests that noticed the last mutants of a file: the next one is likely to be theirs too."""

    MOST = 12

    def __init__(self):
        self.of_file = collections.defaultdict(list)

    def filter(self, file):
        return ":".join(self.of_file[file])

    def noticed(self, file, said):
        for name in re.findall(r"^\[  FAILED  \] (\S+?),?(?: \(\d+ ms\)| where .*)?$", said, re.M):
            self.of_file[file] = [name, *(each for each in self.of_file[file] if each != name)][:self.MOST]
