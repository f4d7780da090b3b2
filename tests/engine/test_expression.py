"""References and expressions in the texts of a graph file."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentgraph.engine.expression import (
    Expression,
    ExpressionError,
    Link,
    ParamReference,
    Template,
    Text,
    escape,
    evaluate,
    parse_text,
    type_of,
)

quick = settings(max_examples=100, deadline=None, database=None)

PARAMS: dict[str, Any] = {"width": 512, "scale": 2.5, "style": "shiny", "hires": True, "none": None, "many": [1]}
TYPES = {name: type(value).__name__ for name, value in PARAMS.items()}


def computed(text: str, params: dict[str, Any] = PARAMS) -> Any:
    parsed = parse_text(text)
    assert isinstance(parsed, Expression | Template)
    value = evaluate(parsed, params)
    assert type_of(parsed, {name: type(param).__name__ for name, param in params.items()}) == type(value).__name__
    return value


def refused(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        computed(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$model", Link("model")),
        ("$model.clip", Link("model", ("clip",))),
        ("$drawn.image.0", Link("drawn", ("image", "0"))),
        ("$_a1", Link("_a1")),
        ("$params.width", ParamReference("width")),
        ("$params.scales.0", ParamReference("scales", ("0",))),
        ("$paramsy", Link("paramsy")),
        # only the whole text is a reference
        ("$model ", Text("$model ")),
        ("$model\n", Text("$model\n")),
        (" $model", Text(" $model")),
        ("$model.", Text("$model.")),
        ("$model..clip", Text("$model..clip")),
        ("$1", Text("$1")),
        ("a $model", Text("a $model")),
        ("", Text("")),
    ],
)
def test_only_a_whole_text_is_a_reference(text: str, expected: object) -> None:
    assert parse_text(text) == expected


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("$5 bill", "$5 bill"),
        ("US$", "US$"),
        ("$", "$"),
        ("$$", "$$"),
        ("$$5", "$$5"),
        ("$$model", "$model"),
        ("$$(1 + 1)", "$(1 + 1)"),
        ("pay $$now", "pay $now"),
        ("$$$$(x", "$$(x"),
        ("${x} and {{ x }}", "${x} and {{ x }}"),
    ],
)
def test_any_other_dollar_is_a_dollar(text: str, plain: str) -> None:
    assert parse_text(text) == Text(plain)


def test_three_dollars_are_one_and_an_expression() -> None:
    assert computed("costs $$$(2 + 3)") == "costs $5"
    parsed = parse_text("costs $$$(2 + 3)")
    assert str(parsed) == "costs $$$(2 + 3)"
    assert parsed == parse_text(str(parsed))


def test_params_alone_is_no_node() -> None:
    assert refused("$params").help == "write $params.NAME"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(1 + 2 * 3)", 7),
        ("$((1 + 2) * 3)", 9),
        ("$(7 - 2 - 1)", 4),
        ("$(-2 * -3)", 6),
        ("$(--2)", 2),
        ("$(7 / 2)", 3.5),
        ("$(4 / 2)", 2.0),
        ("$(7 // 2)", 3),
        ("$(-7 // 2)", -4),
        ("$(7 % 3)", 1),
        ("$(7.5 // 2)", 3.0),
        ("$(1e3)", 1000.0),
        ("$(.5 + 1.)", 1.5),
        ("$(params.width * 2)", 1024),
        ("$( params.scale\n* 2 )", 5.0),
        ("$('it''s ' + \"\"\"\")", "it's \""),
        ("$('a)b' + ')')", "a)b)"),
        ("$('$(' + '$x')", "$($x"),
        ("$(1 < 2 and not 2 < 1)", True),
        ("$(not 1 == 2)", True),
        ("$(1 == 1.0)", True),
        ("$('a' < 'b' or params.hires)", True),
        ("$(params.hires == (1 != 2))", True),
        ("$(params.hires and 1 > 2 or 2 >= 2)", True),
        ("$(min(3, 1, 2))", 1),
        ("$(max(1, 2.5))", 2.5),
        ("$(min(1, 2.5))", 1.0),
        ("$(round(2.567, 1))", 2.6),
        ("$(round(2.6))", 3),
        ("$(round(1234, -2))", 1200),
        ("$(round(5, -1000000000))", 0),
        ("$(round(0.5, 1000000000))", 0.5),
        ("$(round(1e300, -299))", 1e300),
        ("$(9223372036854775807 + 1)", 2**63),
    ],
)
def test_expressions_compute(text: str, value: object) -> None:
    result = computed(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a $(params.style) apple", "a shiny apple"),
        ("$(params.width)x$(params.width // 2)", "512x256"),
        ("$(params.scale)$(params.hires)", "2.5true"),
        ("$(1e-7), $(1e22)", "1e-07, 1e+22"),
        ("$(1 > 2) $model $$(x $5", "false $model $(x $5"),
    ],
)
def test_values_are_inserted_into_text(text: str, value: str) -> None:
    assert computed(text) == value


def test_inserted_text_is_never_looked_at_again() -> None:
    assert computed("x $(params.style)", {"style": "$(1 + 1) $model $$x"}) == "x $(1 + 1) $model $$x"


def test_and_and_or_leave_out_what_does_not_matter() -> None:
    assert computed("$(1 > 2 and 1 / 0 > 1)") is False
    assert computed("$(1 < 2 or 1 / 0 > 1)") is True


@pytest.mark.parametrize(
    ("text", "marked", "message"),
    [
        ("$(params.width * 'x')", "params.width * 'x'", "`*` takes two numbers, not int and str"),
        ("$('x' * 3)", "'x' * 3", "`*` takes two numbers, not str and int"),
        ("ab $(1 + 'x') cd", "1 + 'x'", "`+` takes two numbers or two texts, not int and str"),
        ("$(params.hires + 1)", "params.hires + 1", "`+` takes two numbers or two texts, not bool and int"),
        ("$(-params.style)", "params.style", "`-` takes numbers, not str"),
        ("$(not 1)", "1", "`not` takes a bool, not int"),
        ("$(1 < 2 and 3)", "3", "`and` takes bools, not int"),
        ("$(1 == 'x')", "1 == 'x'", "`==` compares two numbers, or two texts, not int and str"),
        ("$(params.hires < params.hires)", "params.hires < params.hires", "`<` compares two numbers, or two texts"),
        ("$(max('a', 2))", "'a'", "`max` takes numbers, not str"),
        ("$(min(1))", "min(1)", "`min` takes two numbers or more"),
        ("$(round())", "round()", "`round` takes one number, or a number and how many digits"),
        ("$(round(1, 2.0))", "2.0", "the digits that `round` keeps are an int, not float"),
        ("$(params.many)", "params.many", "expressions take int, float, str and bool, not list"),
        ("$(params.none)", "params.none", "expressions take int, float, str and bool, not NoneType"),
        ("$(params.widht + 1)", "params.widht", "no param that an expression can use is called `widht`"),
        ("$(1 / (2 - 2))", "1 / (2 - 2", "this divides by zero"),
        ("$(1 // 0)", "1 // 0", "this divides by zero"),
        ("$(1.5 % 0)", "1.5 % 0", "this divides by zero"),
        ("$(1e308 * 10)", "1e308 * 10", "the result is not a finite number"),
        ("$(1e999)", "1e999", "the result is not a finite number"),
        ("$(9223372036854775808 * 2)", "9223372036854775808 * 2", "the number is larger than 2**63"),
        ("$(9223372036854775809)", "9223372036854775809", "the number is larger than 2**63"),
        ("$(round(1e300))", "round(1e300)", "the number is larger than 2**63"),
        ("$(1 < 2 < 3)", "1 < 2 <", "comparisons cannot be chained"),
        ("$(1 == not params.hires)", "not", "`not` needs parentheses here"),
        ("$(010)", "010", "a number cannot begin with 0"),
        ("$(width)", "width", "`width` is not known in expressions"),
        ("$(params)", "params", "`params` is not known in expressions"),
        ("$(params.many.0)", "params.many.0", "expressions cannot look inside a param"),
        ("$(2x)", "x", "`x` is not expected here"),
        ("$(2 ** 3)", "*", "`*` is not expected here"),
        ("$(1 +)", ")", "`)` is not expected here"),
        ("$(min)", ")", "`)` is not expected here"),
        ("$((1 + 2 * 3)", "$(", "this `$(` is never closed"),
        ("x $(1", "$(", "this `$(` is never closed"),
        ("x $('1)", "'", "this quote is never closed"),
        ("$()", "$()", "this expression is empty"),
        ("$( )", "$( )", "this expression is empty"),
        ("$(1 + $params.width)", "$", "`$` has no meaning in an expression"),
        ("$(params.width = 1)", "=", "`=` has no meaning in an expression"),
        ("$(params.hires && params.hires)", "&", "`&` has no meaning in an expression"),
        ("$(__import__('os'))", "__import__", "`__import__` is not known in expressions"),
        ("😀 $(params.style.upper)", "params.style.upper", "expressions cannot look inside a param"),
    ],
)
def test_errors_point_at_exactly_what_is_wrong(text: str, marked: str, message: str) -> None:
    error = refused(text)
    assert text[error.start : error.end] == marked
    assert str(error).startswith(message)
    assert str(error)[0] in "`" or str(error)[0].islower()


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("$(1 < 2 < 3)", "join them: a < b and b < c"),
        ("fee $(5", "write `$$(` if the characters `$(` are meant"),
        ("fee $(5 dollars)", "write `$$(` if the characters `$(` are meant"),
        ("$(params.widht)", "did you mean `params.width`?"),
        ("$(rond(1.5))", "did you mean `round`?"),
        ("$($params.width)", "inside $( ) a param is written params.NAME, without another $"),
        ("$('a' + 1)", 'to put a value into text, write "text $(params.NAME) text"'),
    ],
)
def test_errors_help(text: str, help: str) -> None:
    assert refused(text).help == help


def test_an_unknown_param_has_the_code_of_one() -> None:
    assert refused("$(params.widht)").code == "unknown-param"
    assert refused("$(1 +)").code == "bad-expression"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$(" + "(" * 50_000, "levels deep"),
        ("$(" + "-" * 50_000 + "1)", "levels deep"),
        ("$(" + "not " * 50_000 + "1)", "levels deep"),
        ("$(" + "min(1," * 50_000, "levels deep"),
        ("$(1" + "+1" * 50_000 + ")", "200 parts"),
        ("$(" + "9" * 1_000_000 + ")", "larger than 2**63"),
        ("$('" + "''" * 1_000_000, "never closed"),
        ("$(" + " " * 1_000_000, "never closed"),
    ],
)
def test_hostile_expressions_are_refused_quickly(text: str, message: str) -> None:
    assert message in str(refused(text))


def test_many_dollars_are_read_in_one_pass() -> None:
    assert parse_text("$" * 1_000_000) == Text("$" * 1_000_000)


def test_texts_do_not_grow_without_bound() -> None:
    params = {"style": "x" * 60_000}
    parsed = parse_text("$(params.style + params.style)")
    assert isinstance(parsed, Expression)
    with pytest.raises(ExpressionError, match="longer than 100,000 characters"):
        evaluate(parsed, params)
    parsed = parse_text("$(params.style) $(params.style)")
    assert isinstance(parsed, Template)
    with pytest.raises(ExpressionError, match="longer than 100,000 characters"):
        evaluate(parsed, params)


def test_types_are_known_without_values() -> None:
    parsed = parse_text("$(params.width / 2 > params.scale)")
    assert isinstance(parsed, Expression)
    assert type_of(parsed, TYPES) == "bool"
    assert parsed.params() == {"width", "scale"}
    template = parse_text("$(params.style), $(min(params.width, -params.scale))")
    assert isinstance(template, Template)
    assert type_of(template, TYPES) == "str"
    assert template.params() == {"width", "scale", "style"}


# Trees of valid syntax, as text with as many parentheses as could be needed

numbers = st.integers(0, 99).map(str) | st.floats(0, 99, allow_nan=False).map(repr)
texts = st.text("ab'\" $()", max_size=5).map(lambda text: "'" + text.replace("'", "''") + "'")
leaves = numbers | texts | st.sampled_from([f"params.{name}" for name in ("width", "scale", "style", "hires")])
signs = st.sampled_from(["+", "-", "*", "/", "//", "%", "<", "<=", "==", "!=", ">", ">=", "and", "or"])
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, signs, inner),
        st.builds("(-{})".format, inner),
        st.builds("(not {})".format, inner),
        st.builds("round({}, {})".format, inner, numbers),
        st.builds("max({}, {})".format, inner, inner),
    ),
    max_leaves=8,
)


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives, or the error that it raises."""
    try:
        return function(*arguments)
    except ExpressionError as error:
        return error


def outcome(parsed: Expression | Template) -> object:
    result = attempt(evaluate, parsed, PARAMS)
    return str(result) if isinstance(result, ExpressionError) else result


@quick
@given(expressions)
def test_an_expression_printed_and_parsed_again_evaluates_the_same(text: str) -> None:
    parsed = parse_text(f"$({text})")
    assert isinstance(parsed, Expression)
    again = parse_text(str(parsed))
    assert again == parsed
    assert isinstance(again, Expression)
    assert outcome(again) == outcome(parsed)


@quick
@given(expressions)
def test_the_type_told_before_is_the_type_of_the_value(text: str) -> None:
    parsed = parse_text(f"$({text})")
    told, value = attempt(type_of, parsed, TYPES), attempt(evaluate, parsed, PARAMS)
    if isinstance(told, ExpressionError):
        assert str(value) == str(told)
    elif isinstance(value, ExpressionError):
        assert any(word in str(value) for word in ("zero", "finite", "larger", "longer"))
    else:
        assert type(value).__name__ == told
        assert not isinstance(value, float) or math.isfinite(value)


@quick
@given(st.text("$$$$ab_1.( )+'"))
def test_whatever_parses_prints_as_a_text_that_parses_to_the_same(text: str) -> None:
    parsed = attempt(parse_text, text)
    if isinstance(parsed, ExpressionError):
        assert 0 <= parsed.start < parsed.end <= len(text)
    else:
        assert parse_text(str(parsed)) == parsed


@quick
@given(st.text("$ab(.) ") | st.text())
def test_escaped_text_is_just_that_text(text: str) -> None:
    assert parse_text(escape(text)) == Text(text)


@quick
@given(st.text("0123456789.eE+-*/%<>=!()'\", paramswidthandornt$", max_size=40))
def test_parsing_raises_nothing_but_expression_errors(text: str) -> None:
    parsed = attempt(parse_text, f"$({text})")
    if isinstance(parsed, ExpressionError):
        assert 0 <= parsed.start < parsed.end <= len(text) + 3
    elif isinstance(parsed, Expression | Template):
        outcome(parsed)
