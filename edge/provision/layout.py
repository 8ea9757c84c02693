"""Where things lie in the folder of a deployment."""

from edge.certificates import MORE_COLLECTORS

SETTINGS = "provision.toml"
README = "README.md"
REGISTER = "register.json"
INVENTORY = "inventory.json"

AUTHORITY = "authority/authority.pem"
AUTHORITY_KEY = "authority/authority.key"
#: Signs cards, set-up codes and enrolment tokens; a unit that was set up believes this key alone.
SETUP_KEY = "authority/setup.key"
BROKER = "broker"
COLLECTOR = "collector"
#: In the folder of each collector.
COLLECTOR_CERTIFICATE = "collector.pem"
COLLECTOR_KEY = "collector.key"
#: Signs what the centre gives back by hand.
RECEIPT_KEY = "collector/receipts.key"
#: Of the endpoint where units enrol.
ENROLMENT = "enrolment"
ENROLMENT_CERTIFICATE = "enrolment/enrol.pem"
ENROLMENT_KEY = "enrolment/enrol.key"
#: The issuing authority, which signs units.
ISSUING = "enrolment/issuing.pem"
ISSUING_KEY = "enrolment/issuing.key"
SETUP_PUBLIC = "enrolment/setup.pub"
REVOKED = "enrolment/revoked.txt"
ENROLMENT_SETTINGS = "enrolment/enrol.toml"
TRACING_PUBLIC = "tracing.pub"
TRACING_PRIVATE = "tracing-desk/tracing.key"
#: Who may order the collecting; its documents are the files *.json beside its key.
BASIS = "legal-basis"
BASIS_KEY = "legal-basis/basis.key"
BASIS_PUBLIC = "legal-basis/basis.pub"
UNITS = "units"
#: The signed repository of the units' software, and the key that signs it.
UPDATES = "updates"
UPDATES_KEY = "authority/updates.key"
UPDATES_PUBLIC = "updates.asc"


def collectors(count: int) -> list[str]:
    """The names of so many collectors, which are those of their folders."""
    return [COLLECTOR, *(f"{MORE_COLLECTORS}{number}" for number in range(2, count + 1))]
