"""Prints the events of a log directory with fastavro. Usage: read_log.py DIR"""

import glob
import sys

import fastavro

for name in sorted(glob.glob(f"{sys.argv[1]}/spine.steps/*/*.avro")):
    with open(name, "rb") as file:
        for record in fastavro.reader(file):
            event = record["body"]
            if isinstance(event, dict):  # bytes are a record that is no event of this schema
                step = event["step"] and event["step"]["name"]
                about = [name for name in (event["run_id"], step) if name]
                print(record["offset"], event["kind"], *about)
