"""What the libraries of others need for the questions of benches/topology.rs: medians of the process's processor time.

    python3 -m venv /tmp/topology
    /tmp/topology/bin/pip install gudhi==3.13.0 ripser==0.6.15 giotto-ph==0.2.4 POT==0.9.7.post1 persim==0.4.1 scikit-learn
    cargo bench --bench topology -- --peers /tmp/topology/bin/python        # or this script alone: series|rips|distances

None of them is incremental: each window is asked from scratch, which is the comparison. Calls from Python cost each about
0.1 ms beside the work, which weighs on small sizes. Inputs are of the distributions of the Rust benches, not the same bits.
"""

import os
import sys
import time
import warnings

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np  # noqa: E402

ROUNDS = 7
SECONDS = 4.0  # a question that takes longer in all is asked less often


def median_us(ask, questions):
    """The median over rounds of the mean over the questions, in microseconds of all threads of this process."""
    means, begun = [], time.monotonic()
    ask(*questions[0])
    while len(means) < ROUNDS and (not means or time.monotonic() - begun < SECONDS):
        start = time.process_time()
        for question in questions:
            ask(*question)
        means.append((time.process_time() - start) / len(questions) * 1e6)
    return float(np.median(means))


def table(title, columns, rows):
    print(f"{title}\n" + "".join(f"{column:>22}" for column in columns))
    for row in rows:
        print("".join(f"{cell:>22.1f}" if isinstance(cell, float) else f"{cell:>22}" for cell in row), flush=True)
    print()


def series():
    import gudhi
    from gudhi._pers_cub_low_dim_ext import _persistence_on_a_line as line  # private; the O(n) algorithm for a path

    def lower_star(values):
        tree = gudhi.SimplexTree()
        edges = np.stack([np.arange(len(values) - 1), np.arange(1, len(values))])
        tree.insert_batch(np.arange(len(values))[None], values)
        tree.insert_batch(edges, np.maximum(values[:-1], values[1:]))
        tree.compute_persistence(persistence_dim_max=False)

    def rows():
        random = np.random.default_rng(42)
        for n in (64, 256, 1024, 4096, 65536):
            windows = [(random.normal(size=n).cumsum(),) for _ in range(4)]
            cubical = lambda values: gudhi.CubicalComplex(vertices=values).compute_persistence()
            yield [n, *(median_us(ask, windows) for ask in (cubical, line, lower_star))]

    table("H0 of one window of a walk, us", ["points", "gudhi cubical", "gudhi line", "gudhi simplex tree"], rows())


def rips():
    import gph
    import gudhi
    import ripser
    from gudhi.sklearn import RipsPersistence

    persistence = RipsPersistence([0, 1], input_type="full distance matrix", homology_coeff_field=2)

    def windows(stream, n):
        random = np.random.default_rng(1)
        for at in range(0, 2000, 500):
            if stream == "ball":
                yield random.normal(size=(n, 3))
            else:
                x = np.sin(2 * np.pi * (np.arange(n + 10) + at) / 32) + 0.1 * random.normal(size=n + 10)
                yield np.stack([x[:n], x[5 : n + 5], x[10:]], axis=1)

    def by_ripser(points, distances):
        ripser.ripser(distances, maxdim=1, distance_matrix=True)

    def by_gudhi(points, distances):
        persistence.transform([distances])

    def by_collapse(points, distances):
        tree = gudhi.RipsComplex(distance_matrix=distances).create_simplex_tree(max_dimension=1)
        tree.collapse_edges()
        tree.expansion(2)
        tree.compute_persistence(homology_coeff_field=2)

    def by_giotto(points, distances):
        gph.ripser_parallel(distances, maxdim=1, metric="precomputed", n_threads=1)

    persistence.fit([])

    def rows():
        for stream in ("delay", "ball"):
            for n in (64, 128, 256, 512):
                clouds = [(p, np.sqrt(((p[:, None] - p[None]) ** 2).sum(-1))) for p in windows(stream, n)]
                yield [stream, n, *(median_us(ask, clouds) for ask in (by_ripser, by_gudhi, by_collapse, by_giotto))]

    columns = ["stream", "points", "ripser", "gudhi RipsPersistence", "gudhi, collapsed", "giotto-ph"]
    table("Rips H0 and H1 of one window, distances given, us", columns, rows())


def distances():
    import gudhi
    import gudhi.hera
    import gudhi.representations
    import gudhi.wasserstein

    random = np.random.default_rng(1)

    def bars(n):
        births, lengths = random.random(n), random.random(n)
        return np.stack([births, births + 0.001 + lengths**3], axis=1)

    def rows():
        for n in (20, 73, 159, 255, 1034):
            one, other = bars(n), bars(n)
            slide = np.concatenate([one[5:], bars(5)])
            for name, pair in (("slide", (one, slide)), ("unlike", (one, other))):
                asks = [
                    lambda a, b: gudhi.wasserstein.wasserstein_distance(a, b, order=1, internal_p=np.inf),
                    lambda a, b: gudhi.hera.wasserstein_distance(a, b, order=1, internal_p=np.inf),
                    lambda a, b: gudhi.hera.wasserstein_distance(a, b, order=2, internal_p=np.inf),
                    lambda a, b: gudhi.bottleneck_distance(a, b),
                    lambda a, b: gudhi.hera.bottleneck_distance(a, b, 0.0),
                    gudhi.representations.SlicedWassersteinDistance(num_directions=50),
                ]
                yield [n, name, *(median_us(ask, [pair]) for ask in asks)]

    columns = ["bars", "diagrams", "POT W1", "hera W1, 1 %", "hera W2, 1 %", "gudhi bottleneck", "hera bottleneck", "gudhi sliced 50"]
    table("distances of whole diagrams, us", columns, rows())

    def feature_rows():
        represent = gudhi.representations
        grid = {"resolution": 100, "sample_range": [0, 2], "keep_endpoints": True}
        image = represent.PersistenceImage(bandwidth=0.1, weight=lambda p: p[1], resolution=[20, 20], im_range=[0, 2, 0, 2])
        methods = [represent.Entropy(), represent.BettiCurve(**grid), represent.Landscape(num_landscapes=5, **grid)]
        methods += [represent.Silhouette(weight=lambda p: p[1] - p[0], **grid), image]
        for n in (20, 159, 1034):
            diagram = bars(n)
            yield [n, *(median_us(method.fit([diagram]).transform, [([diagram],)]) for method in methods)]

    columns = ["bars", "entropy", "Betti 100", "landscape 5x100", "silhouette 100", "image 20x20"]
    table("features by gudhi.representations, us", columns, feature_rows())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    subjects = [series, rips, distances]
    wanted = [s for s in subjects if s.__name__ in sys.argv[1:]] or subjects
    for subject in wanted:
        subject()
