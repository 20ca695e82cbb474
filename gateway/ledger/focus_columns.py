"""The columns of the FOCUS 1.2 cost and usage dataset: what each may contain.

FOCUS is the FinOps Open Cost and Usage Specification. This is its list of columns with their data
types, whether they have to be there and may be null, and the values that are allowed. What has to
hold between columns is in `focus_rules`; what we write into them is in `focus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

VERSION = "1.2"


class Kind(StrEnum):
    """Data types of the specification."""

    DECIMAL = "decimal"
    STRING = "string"
    MOMENT = "date/time"
    KEY_VALUE = "key-value"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type, whether every dataset has it, and what it may contain."""

    name: str
    kind: Kind = Kind.STRING
    mandatory: bool = False
    nullable: bool = True
    allowed: frozenset[str] | None = None


SUBCATEGORIES: Mapping[str, tuple[str, ...]] = {
    "AI and Machine Learning": (
        *("AI Platforms", "Bots", "Generative AI", "Machine Learning"),
        "Natural Language Processing",
    ),
    "Analytics": (
        *("Analytics Platforms", "Business Intelligence", "Data Processing", "Search"),
        "Streaming Analytics",
    ),
    "Business Applications": ("Productivity and Collaboration",),
    "Compute": (
        *("Containers", "End User Computing", "Quantum Compute", "Serverless Compute"),
        "Virtual Machines",
    ),
    "Databases": (
        *("Caching", "Data Warehouses", "Ledger Databases", "NoSQL Databases"),
        *("Relational Databases", "Time Series Databases"),
    ),
    "Developer Tools": (
        *("Developer Platforms", "Continuous Integration and Deployment"),
        *("Development Environments", "Source Code Management", "Quality Assurance"),
    ),
    "Identity": ("Identity and Access Management",),
    "Integration": ("API Management", "Messaging", "Workflow Orchestration"),
    "Internet of Things": ("IoT Analytics", "IoT Platforms"),
    "Management and Governance": (
        *("Architecture", "Compliance", "Cost Management", "Data Governance"),
        *("Disaster Recovery", "Endpoint Management", "Observability", "Support"),
    ),
    "Media": ("Content Creation", "Gaming", "Media Streaming", "Mixed Reality"),
    "Migration": ("Data Migration", "Resource Migration"),
    "Mobile": (),
    "Multicloud": ("Multicloud Integration",),
    "Networking": (
        *("Application Networking", "Content Delivery", "Network Connectivity"),
        *("Network Infrastructure", "Network Routing", "Network Security"),
    ),
    "Security": (
        *("Secret Management", "Security Posture Management"),
        "Threat Detection and Response",
    ),
    "Storage": (
        *("Backup Storage", "Block Storage", "File Storage", "Object Storage"),
        "Storage Platforms",
    ),
    "Web": ("Application Platforms",),
    "Other": (),
}
"""Service categories, and the subcategories of each beside "Other (category)"."""

PARENTS: Mapping[str, str] = {
    name: category
    for category, names in SUBCATEGORIES.items()
    for name in (*names, f"Other ({category})")
}
"""The one category that a subcategory belongs to."""

SKU_PROPERTIES = frozenset(
    (
        *("CoreCount", "DiskMaxIops", "DiskSpace", "DiskType", "GpuCount", "InstanceSeries"),
        *("InstanceType", "MemorySize", "NetworkMaxIops", "NetworkMaxThroughput"),
        *("OperatingSystem", "Redundancy", "StorageClass"),
    )
)
"""Keys of SkuPriceDetails that the specification defines; all others begin with x_."""

_CATEGORIES = frozenset(("Usage", "Purchase", "Tax", "Credit", "Adjustment"))


def _required(name: str, kind: Kind = Kind.STRING, *allowed: str) -> Column:
    return Column(name, kind, True, False, frozenset(allowed) or None)


def _optional(name: str, kind: Kind = Kind.STRING, *allowed: str) -> Column:
    return Column(name, kind, allowed=frozenset(allowed) or None)


_LIST = (
    _optional("AvailabilityZone"),
    _required("BilledCost", Kind.DECIMAL),
    _required("BillingAccountId"),
    Column("BillingAccountName", mandatory=True),
    _optional("BillingAccountType"),
    _required("BillingCurrency"),
    _required("BillingPeriodEnd", Kind.MOMENT),
    _required("BillingPeriodStart", Kind.MOMENT),
    _optional("CapacityReservationId"),
    _optional("CapacityReservationStatus", Kind.STRING, "Used", "Unused"),
    _required("ChargeCategory", Kind.STRING, *sorted(_CATEGORIES)),
    Column("ChargeClass", mandatory=True, allowed=frozenset(("Correction",))),
    Column("ChargeDescription", mandatory=True),
    Column(
        "ChargeFrequency",
        nullable=False,
        allowed=frozenset(("One-Time", "Recurring", "Usage-Based")),
    ),
    _required("ChargePeriodEnd", Kind.MOMENT),
    _required("ChargePeriodStart", Kind.MOMENT),
    _optional("CommitmentDiscountCategory", Kind.STRING, "Spend", "Usage"),
    _optional("CommitmentDiscountId"),
    _optional("CommitmentDiscountName"),
    _optional("CommitmentDiscountQuantity", Kind.DECIMAL),
    _optional("CommitmentDiscountStatus", Kind.STRING, "Used", "Unused"),
    _optional("CommitmentDiscountType"),
    _optional("CommitmentDiscountUnit"),
    _optional("ConsumedQuantity", Kind.DECIMAL),
    _optional("ConsumedUnit"),
    _required("ContractedCost", Kind.DECIMAL),
    _optional("ContractedUnitPrice", Kind.DECIMAL),
    _required("EffectiveCost", Kind.DECIMAL),
    _optional("InvoiceId"),
    _required("InvoiceIssuerName"),
    _required("ListCost", Kind.DECIMAL),
    _optional("ListUnitPrice", Kind.DECIMAL),
    _optional("PricingCategory", Kind.STRING, "Standard", "Committed", "Dynamic", "Other"),
    Column("PricingCurrency", nullable=False),
    _optional("PricingCurrencyContractedUnitPrice", Kind.DECIMAL),
    Column("PricingCurrencyEffectiveCost", Kind.DECIMAL, nullable=False),
    _optional("PricingCurrencyListUnitPrice", Kind.DECIMAL),
    Column("PricingQuantity", Kind.DECIMAL, mandatory=True),
    Column("PricingUnit", mandatory=True),
    _required("ProviderName"),
    _required("PublisherName"),
    _optional("RegionId"),
    _optional("RegionName"),
    _optional("ResourceId"),
    _optional("ResourceName"),
    _optional("ResourceType"),
    _required("ServiceCategory", Kind.STRING, *SUBCATEGORIES),
    _required("ServiceName"),
    Column("ServiceSubcategory", nullable=False, allowed=frozenset(PARENTS)),
    _optional("SkuId"),
    _optional("SkuMeter"),
    _optional("SkuPriceDetails", Kind.KEY_VALUE),
    _optional("SkuPriceId"),
    _optional("SubAccountId"),
    _optional("SubAccountName"),
    _optional("SubAccountType"),
    _optional("Tags", Kind.KEY_VALUE),
)
COLUMNS: Mapping[str, Column] = {column.name: column for column in _LIST}
"""Every column of FOCUS 1.2, by its name."""
