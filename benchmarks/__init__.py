"""What llmgine costs, beside what a user would pick instead.

`python -m benchmarks` lists the cases, `python -m benchmarks bus` runs one. Each contender of a case,
ours or a peer, runs in a process of its own: it warms up, measures some rounds, and its figure is the
median of them. Only figures of one run on one machine may be compared.
"""
