"""`python -m robustpo`."""

import sys

from robustpo.cli import main

sys.exit(main())
