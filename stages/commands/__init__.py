"""Commands of ``streamajig`` that know crystallography; each module is one command, or what one of them is made of."""
