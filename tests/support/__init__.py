"""What several suites need: a clock that we move, a fake road, and the event corpus."""
