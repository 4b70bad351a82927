"""The models of test-outcomes, with what DataKitchen's TestGen adds to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from . import fields
from .events import EventPart
from .fields import A_LIST, Fault, Part, check_of, fault

MAX_OUTCOMES = 500


def _some(value: list[str]) -> list[str]:
    if not value:
        raise fault("must have at least 1 item")
    return value


Texts = Annotated[list[fields.Text], A_LIST]
SomeTexts = Annotated[list[fields.Text], A_LIST, AfterValidator(_some)]


class Tables(Part):
    """The tables that TestGen looked at."""

    include_list: Texts | None = None
    include_pattern: fields.TextOrNull = None
    exclude_pattern: fields.TextOrNull = None

    def rules(self) -> Iterator[Fault]:
        """Yield that no table is named."""
        if not self.include_list and self.include_pattern is None:
            yield "include_list", "include_list or include_pattern must be set"


class TableGroup(Part):
    """The group that the tables belong to in TestGen."""

    group_id: fields.Uuid
    project_code: fields.Text
    uses_sampling: fields.YesNoOrNull = None
    sample_percentage: fields.TextOrNull = None
    sample_minimum_count: fields.WholeOrNull = None


class TestgenRoot(Part):
    """What TestGen says about all outcomes of an event."""

    version: fields.One
    database_name: fields.Text
    connection_name: fields.Text
    tables: Tables
    database_schema: fields.TextOrNull = Field(None, alias="schema")
    table_group_configuration: TableGroup | None = None


class RootIntegrations(Part):
    """The products that add something to an event: TestGen alone."""

    testgen: TestgenRoot


class ComponentIntegrations(Part):
    """What wraps the products' data of an event."""

    integrations: RootIntegrations


class Parameter(Part):
    """One parameter of a test in TestGen."""

    name: fields.Text
    value: fields.NumberOrText


class TestgenItem(Part):
    """What TestGen says about one outcome.

    The server takes null for the parameters, and loses the event later.
    """

    table: fields.Text
    test_suite: fields.Text
    version: fields.One
    columns: Texts | None = None
    test_parameters: Annotated[list[Parameter], A_LIST] = []


class ItemIntegrations(Part):
    """The products that add something to an outcome: TestGen alone."""

    testgen: TestgenItem


class Outcome(Part):
    """The outcome of one test."""

    name: fields.Name
    status: Annotated[str, fields.choice("PASSED", "FAILED", "WARNING")]
    description: fields.AnyTextOrNull = None
    start_time: fields.TimeOrNull = None
    end_time: fields.TimeOrNull = None
    metric_value: fields.NumberOrNull = None
    min_threshold: fields.NumberOrNull = None
    max_threshold: fields.NumberOrNull = None
    metric_name: fields.NameOrNull = None
    metric_description: fields.TextOrNull = None
    result: fields.TextOrNull = None
    type: fields.TextOrNull = None
    key: fields.NameOrNull = None
    dimensions: SomeTexts | None = None
    metadata: fields.MetadataOrNull = None
    integrations: ItemIntegrations | None = None


def _few(value: list[Outcome], info: ValidationInfo) -> list[Outcome]:
    if not value:
        raise fault("must have at least 1 item")
    if len(value) > MAX_OUTCOMES and not check_of(info).any_length:
        raise fault(
            f"has {len(value):,} items, at most {MAX_OUTCOMES} are allowed; "
            f"split() makes several payloads of it"
        )
    return value


class TestOutcomes(EventPart):
    """test-outcomes: what a set of tests found."""

    test_outcomes: Annotated[list[Outcome], A_LIST, AfterValidator(_few)]
    component_integrations: ComponentIntegrations | None = None

    def rules(self) -> Iterator[Fault]:
        """Yield what is wrong with the component, or that TestGen's data is not whole."""
        yield from super().rules()
        carrying = [each.integrations is not None for each in self.test_outcomes]
        if self.component_integrations is not None and not all(carrying):
            field = "test_outcomes[*].integrations.testgen"
            yield field, "must be set for every outcome, as the event has TestGen data"
        if self.component_integrations is None and any(carrying):
            field = "component_integrations.integrations.testgen"
            yield field, "must be set, as an outcome has TestGen data"
