#!/usr/bin/env python3
"""Makes the readings that dataflows/sensors.toml reads: two files, six sensors each, an hour, with what real files have:
records out of order, a few late ones, spikes, silences, and lines that are not what they should be."""

import json
import math


def chance(seed):
    """SplitMix64 in [0, 1): the same numbers on every machine and in every version of Python."""
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield ((z ^ (z >> 31)) >> 11) / (1 << 53)


def readings(number, start):
    die = chance(number)
    lines = []
    for second in range(0, 3600, 5):
        for i in range(6):
            sensor = f"s-{number}{i}"
            if i == 3 and 1200 <= second < 1500:
                continue  # it is silent for five minutes
            noise = sum(next(die) for _ in range(12)) - 6
            temperature = 20 + i + 3 * math.sin(second / 600) + 0.3 * noise
            if next(die) < 0.002:
                temperature += 15
            pressure = 2.5 + 0.1 * (sum(next(die) for _ in range(12)) - 6)
            if second == 3000 and i == 2:
                pressure = 6.5
            ts = start + second * 1000 + int(next(die) * 1000)
            delay = 60_000 if next(die) < 0.003 else int(4000 * next(die) ** 3)
            status = "service" if next(die) < 0.01 else "ok"
            line = {"ts": ts, "sensor": sensor, "temperature": round(temperature, 3), "pressure": round(pressure, 4), "status": status}
            lines.append((ts + delay, json.dumps(line)))
    lines.sort()
    return [line for _, line in lines]


for number in (1, 2):
    lines = readings(number, 1_767_225_600_000)
    if number == 2:
        lines.insert(100, '{"ts": 1767225700000, "sensor": "s-20", "temperature": "warm", "pressure": 2.5, "status": "ok"}')
        lines.insert(200, "not JSON at all")
        lines.insert(300, '{"ts": 1767225800000, "sensor": "s-21", "temperature": 900.0, "pressure": -1.0, "status": "lost"}')
        lines.insert(400, '{"ts": 1767225900000, "sensor": null, "temperature": 21.0, "pressure": 2.5, "status": "ok"}')
    with open(f"sensors-{number}.jsonl", "w") as file:
        file.write("\n".join(lines) + "\n")
