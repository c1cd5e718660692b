"""What the page may ask for, checked before any of it is used, and the tf.Example that it becomes."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError

from schema.settings import InputError, Settings
from souk_client.examples import Behavior, search_example
from souk_client.filters import Filters

MAX_ITEMS: Final = 1000
_Text = Annotated[str, Field(max_length=1000)]


class Side(Settings):
    """One of the answers that are shown beside each other.

    Attributes:
      model: a key of `Models`.
      version: None asks the newest.
      personalized: whether the user and the behavior are sent.
    """

    model: _Text
    version: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    personalized: bool = True


class SearchRequest(Settings):
    """One search on the page.

    Attributes:
      query: what was typed.
      user: id of the user who asks, or None.
      k: most items to show.
      relevance_control: None leaves it to the model's own setting.
      retrieval: how items are found; None leaves it to the model's own setting.
      filters: which items may be in the answers.
      sides: one, or two to compare.
    """

    query: _Text
    user: _Text | None = None
    k: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 20
    relevance_control: bool | None = None
    retrieval: Literal["dense", "lexical", "hybrid"] | None = None
    filters: Filters = Filters()
    sides: Annotated[tuple[Side, ...], Field(min_length=1, max_length=2)]

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The request in a JSON body.

        Raises:
          InputError: if it is no JSON, or not this request.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise InputError(f"The search cannot be understood: {'; '.join(_problems(error))}.") from None


class Click(Settings):
    """A click that the page sends for a user.

    Attributes:
      user: id of the user.
      item_id: the item.
    """

    user: _Text
    item_id: _Text

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The click in a JSON body.

        Raises:
          InputError: if it is no JSON, or not this click.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise InputError(f"The click cannot be understood: {'; '.join(_problems(error))}.") from None


def example_of(request: SearchRequest, side: Side, behavior: Behavior | None) -> bytes:
    """The serialized tf.Example that asks for one side's answer; an unset filter has no feature.

    Raises:
      InputError: if the query is empty.
    """
    user, known = (request.user, behavior) if side.personalized else (None, None)
    return search_example(request.query, user, known, request.relevance_control, request.filters, request.retrieval)


def _problems(error: ValidationError) -> list[str]:
    return [_problem(problem) for problem in error.errors()]


def _problem(problem: Any) -> str:
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    path = ".".join(str(part) for part in problem["loc"])
    return f"{path}: {problem['msg']}" if path else str(problem["msg"])
