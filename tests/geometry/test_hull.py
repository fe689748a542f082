import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from myna_rpe.errors import LibraryError
from myna_rpe.geometry.hull import Hull, HullSum, scaled_distances

from .support import by_nnls, by_qp, contains, rotation

SHAPES = [(1, 4), (2, 5), (3, 2), (4, 3), (10, 32), (40, 3), (30, 32), (100, 32)]


def some_points(rng, n, d, m=40):
    """Vertices, and points from deep inside to far outside; some are vertices themselves."""
    vertices = rng.normal(size=(n, d))
    x = rng.normal(size=(m, d)) * rng.choice([0.02, 0.3, 1, 5], size=(m, 1))
    x[: min(n, 5)] = vertices[:5]
    return vertices, x


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_both_methods_agree_with_nnls(rng, n, d):
    vertices, x = some_points(rng, n, d)
    hull = Hull(vertices)
    expected = [by_nnls(vertices, point) for point in x]
    np.testing.assert_allclose([hull.distance(point).value for point in x], expected, atol=1e-8)
    np.testing.assert_allclose(hull.distances(x).values, expected, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(4, 3), (8, 16), (20, 6)])
def test_both_methods_agree_with_a_qp_solver(rng, n, d):
    vertices, x = some_points(rng, n, d, m=15)
    x = x[min(n, 5) :]
    outside = x[[not contains(vertices, point) for point in x]]
    # The solver minimises squares, which hides distances below the root of its precision.
    expected = [by_qp(vertices, point) for point in outside]
    hull = Hull(vertices)
    np.testing.assert_allclose([hull.distance(p).value for p in outside], expected, atol=1e-8)
    np.testing.assert_allclose(hull.distances(outside).values, expected, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_lower_exact_and_upper_are_in_order_and_close_on_every_row(rng, n, d):
    vertices, x = some_points(rng, n, d, m=60)
    hull = Hull(vertices)
    exact = np.array([by_nnls(vertices, point) for point in x])
    alone = [hull.distance(point) for point in x]
    many = hull.distances(x)
    for lower, upper in (
        (np.array([one.lower for one in alone]), np.array([one.value for one in alone])),
        (many.lowers, many.values),
    ):
        assert (lower <= exact + 1e-12).all()
        assert (exact <= upper + 1e-12).all()
        assert (upper - lower <= 1e-7).all()


def test_the_lower_bound_is_no_worse_than_the_published_certificate(rng):
    vertices, x = some_points(rng, 10, 32)
    hull = Hull(vertices)
    for point in x[5:]:
        distance = hull.distance(point)
        p = distance.weights @ vertices - point
        certificate = max(0.0, ((vertices - point) @ p).min() / np.linalg.norm(p))
        assert certificate <= distance.lower + 1e-9


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_the_optimality_conditions_hold(rng, n, d):
    vertices, x = some_points(rng, n, d)
    hull = Hull(vertices)
    many = hull.distances(x)
    for row, point in enumerate(x):
        for weights in (hull.distance(point).weights, many.weights[row]):
            assert (weights >= 0).all()
            assert weights.sum() == pytest.approx(1)
            p = weights @ vertices - point
            slope = vertices @ p - (weights @ vertices) @ p  # >= 0, and 0 where there is weight
            assert slope.min() > -1e-6
            assert np.abs(weights * slope).max() < 1e-6


def test_the_weights_give_the_point_and_the_point_the_distance(rng):
    vertices, x = some_points(rng, 12, 6)
    hull = Hull(vertices)
    for point in x:
        distance = hull.distance(point)
        np.testing.assert_allclose(distance.point, distance.weights @ vertices, atol=1e-12)
        assert distance.value == pytest.approx(np.linalg.norm(distance.point - point), abs=1e-12)


def test_a_segment_has_its_closed_form(rng):
    for _ in range(50):
        a, b, x = rng.normal(size=(3, 4))
        t = np.clip((x - a) @ (b - a) / np.square(b - a).sum(), 0, 1)
        distance = Hull(np.stack([a, b])).distance(x)
        assert distance.value == pytest.approx(np.linalg.norm(a + t * (b - a) - x))
        assert distance.weights == pytest.approx([1 - t, t], abs=1e-9)


def test_a_triangle_has_its_closed_form():
    triangle = Hull(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]))
    x = np.array([[1.0, 1.0], [4.0, 4.0], [1.0, -3.0], [-3.0, -4.0], [2.0, 2.0]])
    expected = [0, 2 * np.sqrt(2), 3, 5, 0]
    np.testing.assert_allclose(triangle.distances(x).values, expected, atol=1e-8)
    np.testing.assert_allclose([triangle.distance(p).value for p in x], expected, atol=1e-12)


@pytest.mark.parametrize("d", [2, 5, 30])
def test_the_origin_is_as_far_from_a_simplex_as_it_should_be(d):
    simplex = Hull(np.eye(d))
    distance = simplex.distance(np.zeros(d))
    assert distance.value == pytest.approx(1 / np.sqrt(d))
    assert distance.weights == pytest.approx(np.full(d, 1 / d))
    assert simplex.distances(np.zeros((1, d))).values[0] == pytest.approx(1 / np.sqrt(d))


def test_a_cube_has_its_closed_form(rng):
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 5)).reshape(5, -1).T
    x = rng.normal(size=(100, 5)) * 2
    expected = np.linalg.norm(x - np.clip(x, -1, 1), axis=1)
    np.testing.assert_allclose(Hull(corners).distances(x).values, expected, atol=1e-8)
    np.testing.assert_allclose([Hull(corners).distance(p).value for p in x], expected, atol=1e-8)


@pytest.mark.parametrize("d", [2, 3])
def test_what_scipys_hull_holds_has_distance_0(rng, d):
    vertices = rng.normal(size=(20, d))
    x = rng.normal(size=(200, d))
    facets = ConvexHull(vertices).equations
    inside = (x @ facets[:, :-1].T + facets[:, -1]).max(axis=1) < 0
    values = Hull(vertices).distances(x).values
    assert inside.any()
    assert (values[inside] < 1e-8).all()
    assert (values[~inside] > 1e-8).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), d=st.integers(1, 8))
def test_distances_do_not_change_with_how_space_is_laid_out(seed, n, d):
    rng = np.random.default_rng(seed)
    vertices, x = some_points(rng, n, d, m=8)
    values = Hull(vertices).distances(x).values
    turn, shift = rotation(rng, d), 10 * rng.normal(size=d)
    moved = Hull(vertices @ turn + shift).distances(x @ turn + shift).values
    np.testing.assert_allclose(moved, values, atol=1e-7)
    np.testing.assert_allclose(Hull(1000 * vertices).distances(1000 * x).values, 1000 * values,
                               atol=1e-5)  # fmt: skip
    order = rng.permutation(n)
    np.testing.assert_allclose(Hull(vertices[order]).distances(x).values, values, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), d=st.integers(1, 8))
def test_repeated_and_interior_vertices_change_nothing_and_new_ones_never_raise(seed, n, d):
    rng = np.random.default_rng(seed)
    vertices, x = some_points(rng, n, d, m=8)
    values = Hull(vertices).distances(x).values
    inner = rng.dirichlet(np.ones(n), size=3) @ vertices
    more = np.vstack([vertices, vertices[:2], inner])
    np.testing.assert_allclose(Hull(more).distances(x).values, values, atol=1e-7)
    np.testing.assert_allclose([Hull(more).distance(p).value for p in x], values, atol=1e-7)
    larger = np.vstack([vertices, rng.normal(size=(1, d))])
    assert (Hull(larger).distances(x).values <= values + 1e-7).all()


def test_distances_are_1_lipschitz(rng):
    vertices, x = some_points(rng, 10, 16, m=200)
    y = x + rng.normal(size=x.shape) * rng.choice([1e-3, 1.0], size=(200, 1))
    hull = Hull(vertices)
    change = np.abs(hull.distances(x).values - hull.distances(y).values)
    assert (change <= np.linalg.norm(x - y, axis=1) + 1e-8).all()


@pytest.mark.parametrize(
    "vertices",
    [
        np.zeros((1, 3)),
        np.ones((4, 3)),
        np.outer(np.arange(6.0), [1.0, 2.0, -1.0]),
        np.outer([0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0]),
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0.5, 0.5, 0], [1, 0, 0]]),
    ],
    ids=["one", "all equal", "a line", "two twice", "a plane"],
)
def test_degenerate_hulls_are_fine(rng, vertices):
    x = np.vstack([vertices, rng.normal(size=(10, 3))])
    hull = Hull(vertices)
    expected = [by_nnls(vertices, point) for point in x]
    np.testing.assert_allclose([hull.distance(point).value for point in x], expected, atol=1e-8)
    np.testing.assert_allclose(hull.distances(x).values, expected, atol=1e-8)


def test_one_dimension_is_an_interval():
    hull = Hull(np.array([[1.0], [3.0], [2.0]]))
    x = np.array([[0.0], [1.5], [7.0]])
    np.testing.assert_allclose(hull.distances(x).values, [1, 0, 4], atol=1e-9)


def test_far_from_the_origin_float32_embeddings_keep_their_distances(rng):
    vertices = (rng.normal(size=(20, 32)) + 300).astype(np.float32)
    x = (rng.normal(size=(20, 32)) + 300).astype(np.float32)
    hull = Hull(vertices)
    expected = [by_nnls(vertices.astype(float), point.astype(float)) for point in x]
    np.testing.assert_allclose(hull.distances(x).values, expected, atol=1e-8)
    np.testing.assert_allclose(hull.distances(vertices).values, 0, atol=1e-7)


def test_members_are_at_distance_0(rng):
    for n, d in SHAPES:
        vertices = rng.normal(size=(n, d))
        hull = Hull(vertices)
        assert max(hull.distance(vertex).value for vertex in vertices) < 1e-12
        assert hull.distances(vertices).values.max() < 1e-8


def test_on_a_sphere_no_other_point_is_inside(rng):
    points = rng.normal(size=(60, 16))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert (Hull(points[:30]).distances(points[30:]).values > 0.01).all()


def test_rows_that_never_settle_are_done_one_by_one(rng, monkeypatch):
    vertices, x = some_points(rng, 30, 8)
    expected = Hull(vertices).distances(x).values
    monkeypatch.setattr("myna_rpe.geometry.minnorm._LOOKS", 1)
    monkeypatch.setattr("myna_rpe.geometry.minnorm._STEPS", 1)
    np.testing.assert_allclose(Hull(vertices).distances(x).values, expected, atol=1e-8)


def test_a_ceiling_leaves_nearer_points_exact_and_bounds_true(rng):
    vertices, x = some_points(rng, 12, 16, m=100)
    hull = Hull(vertices)
    exact = hull.distances(x).values
    ceiling = float(np.median(exact))
    bounded = hull.distances(x, ceiling=ceiling)
    near = exact <= ceiling
    np.testing.assert_allclose(bounded.values[near], exact[near], atol=1e-8)
    assert (bounded.values[~near] >= exact[~near] - 1e-8).all()
    assert (bounded.lowers <= exact + 1e-9).all()


def test_lower_bounds_are_below_every_distance(rng):
    for n, d in SHAPES:
        vertices, x = some_points(rng, n, d, m=200)
        hull = Hull(vertices)
        assert (hull.lower_bounds(x) <= hull.distances(x).values + 1e-12).all()


@pytest.mark.parametrize("factor", [0.25, 1.0, 3])
def test_a_scaled_hull_needs_no_new_vertices(rng, factor):
    vertices, x = some_points(rng, 9, 5)
    hull = Hull(vertices)
    grown = Hull(hull.centre + factor * (vertices - hull.centre))
    scaled = scaled_distances(hull, x, factor=factor)
    np.testing.assert_allclose(scaled.values, grown.distances(x).values, atol=1e-7)
    assert (scaled.lowers <= scaled.values).all()


def test_a_sum_of_hulls_equals_the_hull_of_all_sums(rng):
    first, second = rng.normal(size=(5, 4)), 2 * rng.normal(size=(7, 4)) + 3
    x = rng.normal(size=(40, 4)) * 4 + 3
    both = HullSum([first, second])
    every = Hull((first[:, None] + second[None]).reshape(-1, 4))
    expected = every.distances(x).values
    many = both.distances(x)
    np.testing.assert_allclose(many.values, expected, atol=1e-7)
    np.testing.assert_allclose([both.distance(point).value for point in x], expected, atol=1e-7)
    assert many.weights[:, :5].sum(axis=1) == pytest.approx(np.ones(40))
    assert many.weights[:, 5:].sum(axis=1) == pytest.approx(np.ones(40))
    assert (both.lower_bounds(x) <= expected + 1e-9).all()


def test_an_answer_explains_itself(rng):
    distance = Hull(np.array([[0.0, 0.0], [1.0, 0.0]])).distance(np.array([0.4, -0.12]))
    assert distance.explain(["A", "B"]) == "60 % like A, 40 % like B, 0.12 beyond"
    middle = Hull(np.eye(5)).distance(np.zeros(5))
    assert middle.explain(list("ABCDE"), most=1).startswith("20 % like ")
    assert "80 % like 4 others" in middle.explain(list("ABCDE"), most=1)
    with pytest.raises(LibraryError, match="names=1 do not fit 5 vertices"):
        middle.explain(["A"])


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        (np.zeros((0, 3)), "no table of points"),
        (np.zeros((3, 0)), "no table of points"),
        (np.zeros(3), "no table of points"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), "row 1"),
        (np.array([[np.inf, 1.0], [0.0, 0.0]]), "row 0"),
        (np.array([[1e200, 1.0]]), "above 1e"),
    ],
)
def test_what_is_no_table_of_points_is_refused(vertices, message):
    with pytest.raises(LibraryError, match=message):
        Hull(vertices)


def test_points_that_do_not_fit_are_refused(rng):
    hull = Hull(rng.normal(size=(4, 3)))
    with pytest.raises(LibraryError, match="does not fit"):
        hull.distance(np.zeros(4))
    with pytest.raises(LibraryError, match="NaN"):
        hull.distance(np.full(3, np.nan))
    with pytest.raises(LibraryError, match="does not fit"):
        hull.distances(np.zeros((2, 4)))
    with pytest.raises(LibraryError, match="row 1"):
        hull.distances(np.array([[0.0, 0.0, 0.0], [0.0, np.inf, 0.0]]))
    with pytest.raises(LibraryError, match="factor"):
        scaled_distances(hull, np.zeros((1, 3)), factor=0)
    with pytest.raises(LibraryError, match="parts=0"):
        HullSum([])
    assert len(hull.distances(np.zeros((0, 3)))) == 0
