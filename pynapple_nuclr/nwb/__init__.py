"""NWB files: units, calcium traces and our columns, read and written."""
