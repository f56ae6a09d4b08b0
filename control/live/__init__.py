"""What the processes of one gateway know together while calls live: counts, owners and slots.

`in_process` is for one process, `shared` for many, over Redis. Both answer alike (`ports`), and one suite of tests
runs on both. Nothing here outlives its time: what a dead process held is free again when its lease ends.
"""
