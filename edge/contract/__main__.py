"""`python -m edge.contract`: write the contract's files anew."""

from edge.contract import write

write()
