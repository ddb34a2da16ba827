"""`python -m zoo` is `mtl-zoo`."""

import sys

from zoo.cli import main

sys.exit(main())
