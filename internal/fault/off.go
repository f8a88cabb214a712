//go:build !fault

package fault

// Enabled reports whether this binary can inject faults.
const Enabled = false

// At does nothing in a normal build.
func At(string) error { return nil }
