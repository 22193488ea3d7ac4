"""Prints the events of a log directory with fastavro. Usage: read_log.py DIR"""

import glob
import sys

import fastavro

for name in sorted(glob.glob(f"{sys.argv[1]}/spine.steps/*/*.avro")):
    with open(name, "rb") as file:
        for record in fastavro.reader(file):
            event = record["body"]
            if isinstance(event, dict):  # bytes are a record that is no event of this schema
                step = event["step"]["name"] if event["step"] else ""
                print(record["offset"], event["kind"], event["run_id"] or "", step)
