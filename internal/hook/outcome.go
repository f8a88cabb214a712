package hook

// Good reports whether an outcome is what its verb was for; everything else needs an exit code that the host takes for a failure.
func (o Outcome) Good(verb Verb) bool {
	switch verb {
	case Pre:
		return o == Held
	case Post:
		return o == Released
	}
	return o == Aborted || o == Released
}

// PlainExitCode is the contract of a host that knows nothing but 0 and not 0. An abort is done as soon as nothing is held, whoever
// released it: the host gave up already, and a failure would only hide the first one.
func PlainExitCode(verb Verb, outcome Outcome) int {
	switch {
	case verb == Probe, outcome.Good(verb), verb == Abort && outcome != Failed:
		return 0
	}
	return 1
}
