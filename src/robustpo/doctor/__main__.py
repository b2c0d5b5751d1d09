"""`python -m robustpo.doctor`."""

import sys

from robustpo.doctor.doctor import diagnose

sys.exit(diagnose(as_json="--json" in sys.argv[1:]))
