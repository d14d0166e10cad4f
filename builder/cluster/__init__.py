"""A dump of a cluster by kubectl -> nodes, images and findings -> the decision, with its reasons.

In:  JSON dumps, which are not trusted, and the operator's Site. Out: a Decision, or a refusal with its causes.
Imports builder.reading, builder.payload and builder.kubernetes.
"""
