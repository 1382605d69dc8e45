"""Random numbers for the scripts that make the oracles: the same on every machine."""


class Random:
    """splitmix64 (Steele, Lea, Flood 2014)."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    def unit(self):
        return (self.bits() >> 11) / 2**53

    def below(self, n):
        return int(self.unit() * n)

    def zipf(self, n):
        """The rank of one of n things, the first the most frequent: 1 / (rank + 1)."""
        x = self.unit() * sum(1 / (i + 1) for i in range(n))
        for i in range(n):
            x -= 1 / (i + 1)
            if x <= 0:
                return i
        return n - 1

    def bell(self):
        """About normal, deviation 1: a sum of twelve."""
        return sum(self.unit() for _ in range(12)) - 6
