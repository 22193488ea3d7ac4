"""Reads one segment of a Spine log with fastavro and checks each record by the rule in its schema.

It knows nothing of Spine but that rule, so it shows that a data team needs nothing else.
Usage: python3 read_segment.py FILE
"""

import io
import struct
import sys

import fastavro


def crc32c(data: bytes) -> int:
    """CRC-32C, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def framed_value(body, datum_schema, fingerprint: str):
    """The value as it was appended: a record body gets its frame back."""
    if body is None or isinstance(body, bytes):
        return body
    out = io.BytesIO()
    fastavro.schemaless_writer(out, datum_schema, body)
    return b"\xc3\x01" + bytes.fromhex(fingerprint) + out.getvalue()


def covered(record, value) -> bytes:
    """The bytes that the checksum covers, in order."""
    key, headers = record["key"], record["headers"]
    data = b"\0" if key is None else b"\1" + sized(key)
    data += struct.pack("<I", len(headers))
    for header in headers:
        data += sized(header["name"].encode()) + sized(header["value"])
    data += b"\0" if value is None else b"\1" + value
    micros = round(record["timestamp"].timestamp() * 1_000_000)
    return data + struct.pack("<qq", record["offset"], micros)


def main(path: str) -> None:
    with open(path, "rb") as file:
        reader = fastavro.reader(file)
        body = next(f for f in reader.writer_schema["fields"] if f["name"] == "body")
        for record in reader:
            value = framed_value(
                record["body"], body["type"][0], reader.metadata["spine.fingerprint"]
            )
            assert len(value or b"") == record["size"]
            holds = crc32c(covered(record, value)) == record["crc32c"]
            headers = [(header["name"], header["value"]) for header in record["headers"]]
            verdict = "checksum holds" if holds else "CHECKSUM FAILS"
            print(record["offset"], record["key"], headers, record["body"], verdict)


if __name__ == "__main__":
    main(sys.argv[1])
