"""How labs are run and the book is built."""

import sys

# nbformat imports jsonschema, and that a package which builds 38 parsers of addresses as it is imported, if it is
# installed: two seconds, for a check that notebooks do not need. None makes that import fail, by the rules of
# `sys.modules`, and jsonschema goes on without it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # the rules allow None, mypy's type does not
