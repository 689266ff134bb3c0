//! What the operator does with the real Kafka, in `tests/`: apart, so that the other tests need not be built with the operator.
