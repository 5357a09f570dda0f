"""shapely: GEOS' geometry, also with a function that it calls for coordinates."""

import shapely
from hosts import pause
from shapely import affinity
from shapely.geometry import LineString, Point, Polygon

DISTRIBUTION = "shapely"


def small():
    return Point(0, 0).buffer(1).area


def heavy():
    circles = [Point(n % 40, n // 40).buffer(0.7) for n in range(800)]
    union = shapely.union_all(circles)
    tree = shapely.STRtree(circles)
    line = LineString([(n, (n * 7919 % 31) / 7) for n in range(3000)])
    hull = shapely.convex_hull(line)
    return [
        round(union.area, 6),
        sorted(tree.query(Point(3, 3).buffer(2)).tolist()),
        hull.wkt,
        round(line.simplify(0.5).length, 6),
        round(union.intersection(affinity.rotate(union, 30)).area, 6),
    ]


def callback(number):
    def moved(coordinates):
        pause()
        return coordinates + number

    shapes = [Polygon([(0, 0), (n + 1, 0), (0, 1)]) for n in range(3)]
    return [shapely.transform(shape, moved).wkt for shape in shapes]


def exception():
    shapely.from_wkt("POLYGON ((0 0, 1")
