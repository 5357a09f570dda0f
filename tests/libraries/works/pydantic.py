"""pydantic: validation in Rust that takes 4.6 KiB of stack for each nested model."""

from hosts import pause
from pydantic import BaseModel, TypeAdapter, create_model, field_validator

DISTRIBUTION = "pydantic"
LEVELS = 250


class Point(BaseModel):
    x: int
    y: float = 0.5
    tags: list[str] = []


class Paused(BaseModel):
    number: int
    inner: "Paused | None" = None

    @field_validator("number", mode="wrap")
    @classmethod
    def stop(cls, value, handler):
        pause()
        if value == 99:
            raise LookupError("from below the validator")
        return handler(value) + 1


def _nested():
    model = create_model("Level0", value=(int, ...))
    for level in range(1, LEVELS):
        model = create_model(f"Level{level}", below=(model, ...))
    return model


NESTED = _nested()


def small():
    return Point.model_validate_json('{"x": "12", "tags": ["a", "b"]}').model_dump()


def heavy():
    data = {"value": "7"}
    for _ in range(1, LEVELS):
        data = {"below": data}
    again = NESTED.model_validate(data)
    text = again.model_dump_json()
    depth, inner = 1, NESTED.model_validate(again.model_dump())
    while hasattr(inner, "below"):
        depth, inner = depth + 1, inner.below
    many = TypeAdapter(list[Point]).validate_python([{"x": i} for i in range(20_000)])
    return [depth, inner.value, text, sum(point.x for point in many)]


def callback(number):
    data = {"number": number}
    for level in range(20):
        data = {"number": number + level, "inner": data}
    return Paused.model_validate(data).model_dump()


def exception():
    Paused.model_validate({"number": 1, "inner": {"number": 99}})
