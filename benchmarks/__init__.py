"""Load on a server between a carrier and a model: the rig, the reference relay, the driver."""
