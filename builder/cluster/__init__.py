"""What kubectl printed of a cluster -> nodes, images and findings -> the decision, with its reasons.

In:  JSON dumps, of which nothing is trusted, and the operator's Site. Out: a Decision, or why it is refused.
Imports builder.reading, builder.payload and builder.kubernetes.
"""
